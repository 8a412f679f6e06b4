"""The agent of a client's host. It writes, reports replicas, and moves them, as a real agent does.

A volume with several replicas is an array: all Available replicas hold the data that was written
last. A host writes only to these, and first reports a replica Missing if it cannot reach it. Before
it reports a replica Available, it has synchronized it.
"""

import random
import time
from collections.abc import Iterable
from enum import Enum, auto
from typing import Any

from tests.chaos.caller import Caller, CallResult
from tests.chaos.contents import Contents, Place
from tests.chaos.oracle import ExpectedObject, Oracle

ANSWER_SECONDS = 60.0
COPY_SECONDS = 5.0
ACTIVE = {"IDLE", "RUNNING"}
SAME_RACK = {"sameRackAllowed": True}


class Need(Enum):
    """What a volume needs until it has all its replicas with current data."""

    NOTHING = auto()
    TIME = auto()
    HOST = auto()


class HostAgent:
    def __init__(self, caller: Caller, oracle: Oracle, contents: Contents, host: str) -> None:
        self._caller, self._oracle, self._contents = caller, oracle, contents
        self._host = host

    def write(self, thing: ExpectedObject, mark: str) -> None:
        """Write to a published volume, after checking its content. Does nothing if the provisioner
        does not answer.
        """
        places = self._places(thing)
        good = [p for p in places if thing.replicas == 1 or p["replicaState"] == "Available"]
        for place in good:
            if not place["inUse"] and not self._report(thing, place, "Missing"):
                return
        legs = [place for place in good if place["inUse"]]
        if not legs:
            return
        for leg in legs:
            found = self._contents.read(leg)
            if None not in (found, thing.mark) and found != thing.mark:
                self._oracle.find(f"{thing.path}: {leg} holds {found!r}, not {thing.mark!r}", thing)
        thing.mark = mark
        thing.note(f"write {mark!r} to {[leg['uuid'] for leg in legs]}")
        self._contents.write(legs, mark)

    def synchronize(self, thing: ExpectedObject) -> bool:
        """Synchronize all outdated replicas of a published volume that their nodes have. Returns
        whether the provisioner knows that they are current.
        """
        places = [p for p in self._places(thing) if p["inUse"] and self._is_there(p)]
        old = [p for p in places if p["replicaState"] not in {"Available", "Terminating"}]
        self._contents.write(old, thing.mark or "")
        return all(self._report(thing, place, "Available") for place in old)

    def replace(self, thing: ExpectedObject, chance: random.Random) -> None:
        """Replace a replica, or migrate it by a task of the host. If a step fails, ``step``
        continues later.
        """
        places = self._places(thing)
        if len(places) != thing.replicas:
            self.step(thing)
            return
        old = chance.choice(places)
        if chance.random() < 0.5:
            if self.migrate(thing, old["uuid"]).done:
                self.work_off([thing])
        elif self._report(thing, old, "Missing"):
            self._replace(thing, old["uuid"])

    def migrate(self, thing: ExpectedObject, old: str, **extensions: str) -> CallResult:
        body = {"volId": thing.uuid, "repId": old} | extensions
        operation = "migrate by the provisioner" if extensions else "migrate"
        return self._caller.ask(operation, thing, "POST", f"/{thing.tenant}/migrate_volume", body)

    def lose_one(self, thing: ExpectedObject, chance: random.Random) -> bool:
        """Report one replica Missing, and do nothing else."""
        places = self._places(thing)
        good = [place for place in places if place["replicaState"] == "Available"]
        return len(good) > 1 and self._report(thing, chance.choice(good), "Missing")

    def add(self, thing: ExpectedObject) -> CallResult:
        return self._replica(thing, "add replica", "POST", "", SAME_RACK)

    def work_off(self, things: Iterable[ExpectedObject]) -> None:
        """Carry out the migrations of this host, including those for drains, and those that it
        began and lost track of.
        """
        known = {thing.uuid: thing for thing in things}
        for row in self._caller.read(f"/tasks?hostId={self._host}", seconds=30) or []:
            tags = tags_of(row)
            if row["state"] not in ACTIVE or "migrationHandler" in tags:
                continue
            thing = known.get(tags["volId"])
            if thing is not None and self._say(row["taskId"], "RUNNING").done:
                moved = self._replace(thing, tags["replicaId"])
                self._say(row["taskId"], "FINISHED" if moved else "FAILED")

    def step(self, thing: ExpectedObject) -> Need:
        """Take one step towards the right replicas."""
        places = self._places(thing)
        attached = thing.published is True
        lost = [place for place in places if not self._is_there(place)]
        if lost and "Terminating" not in {place["replicaState"] for place in places}:
            return self._replace_lost(thing, lost[0], attached=attached)
        return self._advance(thing, places, attached=attached)

    def _advance(self, thing: ExpectedObject, places: list[Place], *, attached: bool) -> Need:
        states = {place["replicaState"] for place in places}
        if not places:
            return Need.TIME
        if outgoing := [p for p in places if p["replicaState"] == "Terminating"]:
            self._confirm(thing, outgoing[0]["uuid"])
        elif attached and not (all(p["inUse"] for p in places) and states == {"Available"}):
            self.synchronize(thing)
        elif self.tasks([thing]):
            pass
        elif states not in ({"Available"}, {"Unknown"}):
            return Need.HOST
        elif len(places) > thing.replicas:
            self._replica(thing, "mark", "PATCH", f"/{places[0]['uuid']}")
        elif len(places) < thing.replicas:
            self.add(thing)
        else:
            return Need.NOTHING
        return Need.TIME

    def _replace_lost(self, thing: ExpectedObject, lost: Place, *, attached: bool) -> Need:
        """Handle a replica that its node has lost: wait until the provisioner notices this by
        itself, then replace it.
        """
        if lost["replicaState"] != "Missing" or self.tasks([thing]):
            return Need.TIME
        if not attached:
            return Need.HOST
        self.synchronize(thing)
        self._replace(thing, lost["uuid"])
        return Need.TIME

    def tasks(self, things: Iterable[ExpectedObject]) -> list[Any]:
        """Return the active tasks of these volumes, whoever carries them out."""
        uuids = {thing.uuid for thing in things}
        rows = self._caller.read("/tasks", seconds=30) or []
        return [r for r in rows if r["state"] in ACTIVE and tags_of(r).get("volId") in uuids]

    def is_copied(self, thing: ExpectedObject) -> bool:
        """Wait until the volume is being copied. Returns False if the copy does not begin, or has
        ended.
        """
        end = time.monotonic() + COPY_SECONDS
        while time.monotonic() < end:
            tasks = self.tasks([thing])
            if not tasks or "bytesTotal" in tasks[0]:
                return bool(tasks)
            time.sleep(0.1)
        return False

    def _replace(self, thing: ExpectedObject, old: str) -> bool:
        """Replace a replica as far as possible. Returns True if this is done."""
        places = self._places(thing)
        if not places or old not in {place["uuid"] for place in places}:
            return bool(places)
        if len(places) <= thing.replicas and not self.add(thing).done:
            return False
        if not self.synchronize(thing):
            return False
        self._replica(thing, "mark", "PATCH", f"/{old}")
        return self._confirm(thing, old).done

    def _confirm(self, thing: ExpectedObject, uuid: str) -> CallResult:
        return self._replica(thing, "confirm", "DELETE", f"/{uuid}")

    def _report(self, thing: ExpectedObject, place: Place, state: str) -> bool:
        operation = "report missing" if state == "Missing" else "report"
        return self._replica(thing, operation, "PATCH", f"/{place['uuid']}/{state}").done

    def _say(self, task: str, state: str) -> CallResult:
        """Update the task until this is answered, as an agent does. Otherwise the task would wait
        for its host.
        """
        body = {"taskId": task, "hostId": self._host, "state": state}
        end = time.monotonic() + ANSWER_SECONDS
        while True:
            said = self._caller.call("task", "PUT", "/tasks", body)
            if not said.unknown or time.monotonic() > end:
                return said
            time.sleep(0.3)

    def _is_there(self, place: Place) -> bool:
        return self._contents.read(place) is not None

    def _places(self, thing: ExpectedObject) -> list[Place]:
        rows = self._caller.read(thing.path, seconds=10)
        return list(rows[0]["location"]) if rows else []

    def _replica(
        self, thing: ExpectedObject, operation: str, method: str, rest: str, body: Any = None
    ) -> CallResult:
        path = f"/{thing.tenant}/replica/{thing.uuid}{rest}"
        return self._caller.ask(operation, thing, method, path, body)


def tags_of(task: Any) -> dict[str, str]:
    return {tag["name"]: tag["value"] for tag in task["taskConfiguration"]}
