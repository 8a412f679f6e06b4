"""The agent of a client's host: it reports replicas, and moves them as an agent does."""

import random
import time
from typing import Any

from tests.chaos.caller import Caller, Said
from tests.chaos.oracle import Thing

TIDY_SECONDS = 60.0
GOOD = {"Available", "Unknown"}


class HostAgent:
    def __init__(self, caller: Caller, host: str) -> None:
        self._caller, self._host = caller, host

    def attach(self, thing: Thing) -> None:
        """The host sees all replicas of a published volume."""
        for place in self._places(thing):
            if place["replicaState"] != "Terminating":
                self._replica(thing, "report", "PATCH", f"/{place['uuid']}/Available")

    def move(self, thing: Thing, chance: random.Random) -> None:
        """Heal, or migrate on a task: another replica instead of one. What fails in between is left
        as it is: ``tidy`` goes on.
        """
        places = self._places(thing)
        if len(places) != thing.replicas:
            self.step(thing)
            return
        old = chance.choice(places)["uuid"]
        task = self._task(thing, old) if chance.random() < 0.5 else None
        if task is None:
            self._replica(thing, "report missing", "PATCH", f"/{old}/Missing")
        added = self._replica(thing, "add replica", "POST", "", {"sameRackAllowed": True})
        moved = added.done and self._sync(thing, old)
        if task is not None:
            self._say(task, "FINISHED" if moved else "FAILED")

    def tidy(self, thing: Thing) -> None:
        """Until the volume has the replicas that it should have."""
        end = time.monotonic() + TIDY_SECONDS
        while time.monotonic() < end and self.step(thing):
            time.sleep(0.3)

    def step(self, thing: Thing) -> bool:
        """One step towards the right replicas; False: nothing is left to do."""
        places = self._places(thing)
        leaving = [p for p in places if p["replicaState"] == "Terminating"]
        if leaving:
            self._replica(thing, "confirm", "DELETE", f"/{leaving[0]['uuid']}")
        elif len(places) > thing.replicas:
            self._sync(thing, places[0]["uuid"])
        elif len(places) < thing.replicas:
            self._replica(thing, "add replica", "POST", "", {"sameRackAllowed": True})
        else:
            for place in places:
                if place["replicaState"] not in GOOD:
                    self._replica(thing, "report", "PATCH", f"/{place['uuid']}/Available")
            return False
        return True

    def _sync(self, thing: Thing, old: str) -> bool:
        for place in self._places(thing):
            if place["uuid"] != old and place["replicaState"] != "Available":
                self._replica(thing, "report", "PATCH", f"/{place['uuid']}/Available")
        if not self._replica(thing, "mark", "PATCH", f"/{old}").done:
            return False
        return self._replica(thing, "confirm", "DELETE", f"/{old}").done

    def _task(self, thing: Thing, old: str) -> str | None:
        body = {"volId": thing.uuid, "repId": old}
        path = f"/{thing.tenant}/migrate_volume"
        thing.note(f"POST {path} {body}")
        said = self._caller.call("migrate", "POST", path, body)
        thing.note(f"  {said.code or 'unknown'} {said.why or said.body}")
        if not said.done:
            return None
        for row in self._caller.read(f"/tasks?hostId={self._host}", seconds=30) or []:
            tags = {tag["name"]: tag["value"] for tag in row["taskConfiguration"]}
            if tags.get("volId") == thing.uuid and row["state"] in {"IDLE", "RUNNING"}:
                self._say(row["taskId"], "RUNNING")
                return str(row["taskId"])
        return None

    def end_tasks(self) -> None:
        """Those that were begun and lost sight of."""
        for row in self._caller.read(f"/tasks?hostId={self._host}", seconds=30) or []:
            if row["state"] in {"IDLE", "RUNNING"} and row["type"] == "RemoteMigration":
                self._say(row["taskId"], "FAILED")

    def _say(self, task: str, state: str) -> None:
        """Until it is answered, as an agent does: else the task would wait for its host."""
        body = {"taskId": task, "hostId": self._host, "state": state}
        end = time.monotonic() + TIDY_SECONDS
        while self._caller.call("task", "PUT", "/tasks", body).unknown and time.monotonic() < end:
            time.sleep(0.3)

    def _places(self, thing: Thing) -> list[Any]:
        rows = self._caller.read(thing.path)
        return list(rows[0]["location"]) if rows else []

    def _replica(
        self, thing: Thing, operation: str, method: str, rest: str, body: Any = None
    ) -> Said:
        path = f"/{thing.tenant}/replica/{thing.uuid}{rest}"
        thing.note(f"{method} {path}")
        said = self._caller.call(operation, method, path, body)
        thing.note(f"  {said.code or 'unknown'} {said.why or said.body}")
        return said
