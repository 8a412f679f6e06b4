"""Clients that create, change and remove objects of their own. The seed decides what they do."""

import threading
import time

from tests.chaos.caller import Caller
from tests.chaos.contents import Contents
from tests.chaos.hosts import HostAgent, Need
from tests.chaos.oracle import ExpectedObject, Oracle
from tests.chaos.things import LOST, ClientObjects, Place

MOST_THINGS = 7
FINISH_SECONDS = 100.0
REST_SECONDS = 75.0
"""Longer than the minute after which a lost replica is replaced."""
REPLICAS = [1, 3]
"""How many a new volume may have."""
WEIGHTS = {
    "create": 5,
    "expand": 2,
    "publish": 4,
    "unpublish": 3,
    "snapshot": 2,
    "snapshot_volume": 2,
    "clone": 1,
    "write": 4,
    "tend": 4,
    "move": 3,
    "migrate": 2,
    "add_offline": 2,
    "meet_copy": 2,
    "lose_and_leave": 1,
    "abort": 1,
    "delete": 4,
}


class Client(ClientObjects, threading.Thread):
    """A client. After ``stop``, it waits until each of its volumes has the replicas that it should
    have.
    """

    def __init__(
        self, caller: Caller, oracle: Oracle, contents: Contents, place: Place, seed: int
    ) -> None:
        threading.Thread.__init__(self, name=f"client-{place.number}", daemon=True)
        ClientObjects.__init__(self, caller, oracle, place, seed)
        self._over = threading.Event()
        self._written = 0
        self._agent = HostAgent(caller, oracle, contents, place.host)

    def stop(self) -> None:
        self._over.set()

    def run(self) -> None:
        while not self._over.is_set():
            self._mine = [thing for thing in self._mine if thing.there is not False]
            what = self._chance.choices([*WEIGHTS], [*WEIGHTS.values()])[0]
            getattr(self, f"_{what}")()
            self._over.wait(self._chance.uniform(0.0, 0.1))
        self._finish()

    def _finish(self) -> None:
        until = time.monotonic() + FINISH_SECONDS
        left = [thing for thing in self._mine if thing.replicas > 1 and self._is_there(thing)]
        while left and time.monotonic() < until:
            self._agent.work_off(self._mine)
            left = [thing for thing in left if self._ensure_replicas(thing) is not Need.NOTHING]
            time.sleep(0.3)

    def _ensure_replicas(self, thing: ExpectedObject) -> Need:
        """Ensure that the volume gets its replicas, as an operator would: a volume that only a host
        can repair is published.
        """
        need = self._agent.step(thing)
        if need is Need.HOST:
            self._publish_to_host(thing)
        return need

    def _is_there(self, thing: ExpectedObject) -> bool:
        """Whether the object exists. If no answer has told this, it is read."""
        if thing.there is None and self._caller.read(thing.path, seconds=30):
            thing.there = True
        return thing.there is True

    def _create(self) -> None:
        if len(self._mine) >= MOST_THINGS:
            return
        gib = self._chance.choice([1, 1, 2, 5, 10, 25])
        replicas = self._chance.choice(REPLICAS)
        thing = self._new("volumes", gib=gib, replicas=replicas)
        body = {
            "alias": self._alias(),
            "uuid": thing.uuid,
            "capacity": gib,
            "provisioningType": self._chance.choice(["THICK", "THIN"]),
            "storageClass": {
                "numReplicas": replicas,
                "sameRackAllowed": True,
                "maxReplicaDownTime": 1,
            },
        }
        self._make("create", thing, "volumes", body)

    def _snapshot(self) -> None:
        source = self._one(lambda t: t.kind == "volumes" and t.replicas == 1 and not t.parent)
        if source is None or len(self._mine) >= MOST_THINGS:
            return
        thing = self._new("snapshots", parent=source)
        thing.gib, thing.mark = set(source.gib), source.mark
        body = {"alias": self._alias(), "volumeID": source.uuid, "snapshotID": thing.uuid}
        self._make("snapshot", thing, "snapshots", body)

    def _snapshot_volume(self) -> None:
        source = self._one(lambda t: t.kind == "snapshots" and not self._oracle.children(t))
        if source is None:
            return
        thing = self._new("volumes", parent=source)
        thing.gib, thing.mark = set(source.gib), source.mark
        body = {"alias": self._alias(), "snapshotID": source.uuid, "volumeID": thing.uuid}
        self._make("snapshot volume", thing, "snapshot_volumes", body)

    def _clone(self) -> None:
        source = self._one(lambda t: t.kind == "volumes" and t.replicas == 1 and not t.parent)
        if source is None or len(self._mine) >= MOST_THINGS:
            return
        gib = max(source.gib) + self._chance.choice([1, 3])
        thing = self._new("volumes", gib=gib)
        thing.mark = source.mark
        body = {"alias": self._alias(), "sourceVolumeId": source.uuid, "volumeId": thing.uuid}
        self._make("clone", thing, "clone_volume", body | {"capacity": gib})

    def _expand(self) -> None:
        thing = self._one(lambda t: t.kind == "volumes" and not t.parent)
        if thing is None:
            return
        gib = max(thing.gib) + self._chance.choice([1, 5])
        said = self._call("expand", thing, "PATCH", thing.path, {"newCapacity": gib})
        if said.done:
            thing.gib = {gib}
        elif said.unknown or said.code == "NotAvailable":
            thing.gib.add(gib)  # an expansion that was claimed is finished later

    def _publish(self) -> None:
        thing = self._one(lambda t: t.kind == "volumes" and t.published is not True)
        if thing is not None:
            self._publish_to_host(thing)

    def _publish_to_host(self, thing: ExpectedObject) -> None:
        body = {"hostId": self._place.host, "volId": thing.uuid}
        said = self._call("publish", thing, "POST", f"/{thing.tenant}/publish", body)
        if said.done or said.code == "AlreadyPublished":
            thing.published = True
        elif said.unknown:
            thing.published = None
        if thing.published and thing.replicas > 1:
            self._agent.synchronize(thing)

    def _unpublish(self) -> None:
        thing = self._one(lambda t: t.published is not False)
        if thing is not None:
            self._unpublish_from_host(thing)

    def _unpublish_from_host(self, thing: ExpectedObject) -> None:
        was = thing.published
        body = {"hostId": self._place.host, "volId": thing.uuid}
        said = self._call("unpublish", thing, "POST", f"/{thing.tenant}/unpublish", body)
        is_not = said.code == "VolumeNotPublished"
        if was and is_not and not self._caller.was_repeated(said):
            self._oracle.find(f"{thing.path} was published and is not any more", thing)
        if said.done or said.code in {"VolumeNotPublished", "UnpublishFailed"}:
            thing.published = False
        elif said.unknown:
            thing.published = None

    def _write(self) -> None:
        thing = self._one(lambda t: t.published is True and not t.parent)
        if thing is not None:
            self._write_to(thing)

    def _write_to(self, thing: ExpectedObject) -> None:
        self._written += 1
        self._agent.write(thing, f"{self._place.host} {self._written}")

    def _tend(self) -> None:
        self._agent.work_off(self._mine)
        thing = self._one(lambda t: t.replicas > 1)
        if thing is not None:
            self._agent.step(thing)

    def _move(self) -> None:
        thing = self._one(lambda t: t.replicas > 1 and t.published is True)
        if thing is not None:
            self._agent.replace(thing, self._chance)

    def _migrate(self) -> None:
        """Start a migration by the provisioner. ``_tend`` does the part of the host."""
        thing = self._one(lambda t: t.replicas > 1 and t.published is True)
        rows = self._caller.read(thing.path) if thing else None
        if thing is not None and rows:
            old = self._chance.choice(rows[0]["location"])["uuid"]
            self._agent.migrate(thing, old, migrationHandler="PROVISIONER")

    def _add_offline(self) -> None:
        """Add a replica by a copy between nodes, to a volume that a host wrote to before."""
        thing = self._one(lambda t: t.replicas > 1 and t.published is False and bool(t.mark))
        if thing is not None:
            self._agent.add(thing)

    def _meet_copy(self) -> None:
        """Let a host use the volume, and use it again while the volume is being copied."""
        thing = self._one(lambda t: t.replicas > 1)
        if thing is None or not self._visit(thing) or not self._agent.add(thing).done:
            return
        if self._agent.is_copied(thing):
            self._visit(thing)

    def _visit(self, thing: ExpectedObject) -> bool:
        """Let a host use the volume. Returns whether the host was there and has left."""
        if thing.published is not True:
            self._publish_to_host(thing)
        if thing.published is not True:
            return False
        self._write_to(thing)
        self._unpublish_from_host(thing)
        return thing.published is False

    def _lose_and_leave(self) -> None:
        """Let a host lose a replica and stop using the volume, so that the provisioner must replace
        the replica.
        """
        thing = self._one(lambda t: t.replicas > 1 and t.published is True)
        if thing is not None and self._agent.lose_one(thing, self._chance):
            self._unpublish_from_host(thing)
            thing.rests_until = time.monotonic() + REST_SECONDS

    def _abort(self) -> None:
        rows = [row for row in self._agent.tasks(self._mine) if row["stoppable"]]
        if rows:
            row = self._chance.choice(rows)
            body = {"taskId": row["taskId"], "hostId": row.get("hostId", ""), "state": "ABORTED"}
            self._caller.call("abort", "PUT", "/tasks", body)

    def _delete(self) -> None:
        thing = self._one(lambda t: t.published is False and not self._oracle.children(t))
        if thing is None or (len(self._mine) < 3 and self._chance.random() < 0.7):
            return
        was = thing.there
        thing.there = None
        said = self._call("delete", thing, "DELETE", thing.path, was=was)
        if said.done or said.code in LOST:
            thing.there = False
        elif not said.unknown:
            thing.there = was
        if said.code == "VolumeIsInUse":
            self._oracle.find(f"{thing.path} is in use, and is not", thing)
