"""Backups from before, during and after each kind of operation are restored later.

Every acknowledged object is usable afterwards, or is kept and reported as an orphan. No volume
shows data that it did not hold.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from inventory.nodes.engines.simulated import SimulatedFleet, SimulatedNode
from tests.api.snapshot_steps import cloned, created_snapshot_volume, snapped
from tests.api.volume_steps import GIB, HOST, created, probe_host, published, volume
from tests.backups import Backups
from tests.conftest import Answer, Api
from tests.volumes.reconcilers.drain_steps import drained, node_named, settle, work
from tests.volumes.reconcilers.recovery.database_restored_steps import recovered, unpublished
from tests.waiting import eventually
from volumes.audit import audit
from volumes.models import Export, Orphan, Publication, Replica, Snapshot, Volume
from volumes.reconcilers.relocation import relocate_replicas

pytestmark = pytest.mark.django_db(transaction=True)
PoolOf = Callable[[int], list[str]]
BEFORE, BETWEEN, AFTER = "before", "between", "after"
SLOW_MS = 2500
FIRST, SECOND = "first", "second"


@dataclass
class World:
    """A pool with one volume that holds data, and the operations on it."""

    api: Api
    fleet: SimulatedFleet
    backups: Backups

    def done(self, answer: Answer) -> None:
        assert answer.status == "Success", answer

    def holders(self, uuid: str) -> list[SimulatedNode]:
        return [node for node in self.fleet.nodes if uuid in node.volumes()]

    def rows_pass(self) -> bool:
        """Whether a row is in a transitional state."""
        models = (Volume, Replica, Snapshot, Publication, Export)
        return any(model.objects.filter(deadline_at__isnull=False).exists() for model in models)

    def at(self, age: str, operation: Callable[[], object]) -> None:
        """Run the operation, and make a backup of this age."""
        if age == BEFORE:
            self.backups.take()
        if age == BETWEEN:
            self._between(operation)
        else:
            operation()
        if age == AFTER:
            self.backups.take()

    def _between(self, operation: Callable[[], object]) -> None:
        for node in self.fleet.nodes:
            for method in ("PUT", "PATCH", "POST", "DELETE"):
                node.faults.slow(SLOW_MS, method=method, times=1)
        failed: list[BaseException] = []

        def run() -> None:
            try:
                operation()
            except BaseException as error:  # noqa: BLE001 - told by the main thread
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        eventually(
            lambda: self.rows_pass() or not thread.is_alive(),
            seconds=60,
            what="rows in a transitional state",
            pause=0.01,
        )
        self.backups.take()
        thread.join()
        for node in self.fleet.nodes:
            node.faults.clear()
        assert not failed, failed


@pytest.fixture
def world(api: Api, pool: PoolOf, fleet: SimulatedFleet, tmp_path: Path) -> World:
    pool(3)
    probe_host(api)
    made = World(api, fleet, Backups(tmp_path))
    assert created(api, FIRST, uuid=FIRST) == FIRST
    made.holders(FIRST)[0].write(FIRST, "data")
    return made


def usable(world: World, uuid: str, data: str) -> None:
    """Check that the volume can be published and expanded, and that each replica holds ``data``."""
    shown = volume(world.api, uuid)
    assert {place["replicaState"] for place in shown["location"]} <= {"Unknown", "Available"}
    for replica in Replica.objects.filter(volume__uuid=uuid):
        assert node_named(world.fleet, str(replica.backend_id)).read(replica.uuid) == data
    answer = world.api.post("/publish", {"volId": uuid, "hostId": HOST})
    assert answer.status in {"Success", "AlreadyPublished"}, answer
    size = shown["capacity"] // GIB + 5
    world.done(world.api.patch(f"/volumes/{uuid}", {"newCapacity": size}))
    unpublished(world.api, uuid)


def kept(world: World, alias: str) -> None:
    """Check that the volume is a kept orphan with its owner."""
    orphans = Orphan.objects.filter(alias=alias, kind="volume")
    assert orphans
    for orphan in orphans:
        assert (orphan.kept, orphan.tenant_id) == (True, "0")
        assert orphan.size_bytes > 0


def in_order(*strange: str) -> None:
    """Check that the audit finds nothing except the kept orphans in ``strange``."""
    found = [d for d in audit() if not any(name in d.text for name in strange)]
    drives = [d for d in found if "bytes are used" in d.text and strange]
    assert [d for d in found if d not in drives] == []


AGES = pytest.mark.parametrize("age", [BEFORE, BETWEEN, AFTER])


@AGES
@pytest.mark.parametrize("replicas", [1, 2])
def test_a_created_volume_is_usable_or_kept_as_an_orphan(
    world: World, capsys: pytest.CaptureFixture[str], age: str, replicas: int
) -> None:
    more = {"storageClass": {"numReplicas": replicas}}
    world.at(age, lambda: created(world.api, SECOND, uuid=SECOND, **more))
    copies = [(n, u) for n in world.fleet.nodes for u in n.volumes() if u != FIRST]
    assert len(copies) == replicas
    for node, uuid in copies:
        node.write(uuid, "more")
    world.backups.restore()
    recovered(capsys)
    if age == BEFORE:
        kept(world, SECOND)
        in_order(*(uuid for _, uuid in copies))
    else:
        usable(world, SECOND, "more")
        in_order()
    usable(world, FIRST, "data")


@AGES
def test_a_clone_is_usable_or_kept_as_an_orphan(
    world: World, capsys: pytest.CaptureFixture[str], age: str
) -> None:
    made: list[str] = []
    world.at(age, lambda: made.append(cloned(world.api, FIRST, SECOND)))
    world.backups.restore()
    recovered(capsys)
    if age == BEFORE:
        kept(world, SECOND)
    else:
        usable(world, made[0], "data")
    usable(world, FIRST, "data")


@AGES
def test_a_snapshot_is_recovered_from_every_backup(
    world: World, capsys: pytest.CaptureFixture[str], age: str
) -> None:
    world.at(age, lambda: snapped(world.api, FIRST, SECOND))
    world.backups.restore()
    recovered(capsys)
    in_order()
    usable(world, FIRST, "data")
    [taken] = world.api.get("/snapshots").body
    assert taken["alias"] == SECOND
    shown = created_snapshot_volume(world.api, Snapshot.objects.get().uuid, "of-it")
    assert world.holders(shown)[0].read(shown) == "data"


@AGES
def test_an_expanded_size_is_recovered_from_every_backup(
    world: World, capsys: pytest.CaptureFixture[str], age: str
) -> None:
    world.at(age, lambda: world.done(world.api.patch(f"/volumes/{FIRST}", {"newCapacity": 30})))
    world.backups.restore()
    recovered(capsys)
    assert volume(world.api, FIRST)["capacity"] == 30 * GIB
    in_order()
    usable(world, FIRST, "data")


@AGES
def test_a_publication_is_recovered_from_every_backup(
    world: World, capsys: pytest.CaptureFixture[str], age: str
) -> None:
    world.at(age, lambda: published(world.api, FIRST))
    world.backups.restore()
    recovered(capsys)
    assert Publication.objects.get().state == "READY"
    in_order()
    usable(world, FIRST, "data")
    in_order()


@AGES
def test_only_a_backup_before_the_unpublish_restores_the_publication(
    world: World, capsys: pytest.CaptureFixture[str], age: str
) -> None:
    published(world.api, FIRST)
    world.at(age, lambda: unpublished(world.api, FIRST))
    world.backups.restore()
    recovered(capsys)
    assert Publication.objects.count() == (1 if age == BEFORE else 0)
    in_order()
    usable(world, FIRST, "data")
    in_order()


@AGES
def test_a_volume_deleted_since_the_backup_is_missing(
    world: World, capsys: pytest.CaptureFixture[str], age: str
) -> None:
    created(world.api, SECOND, uuid=SECOND)
    world.at(age, lambda: world.done(world.api.delete(f"/volumes/{SECOND}")))
    world.backups.restore()
    recovered(capsys)
    if age == BEFORE:
        assert volume(world.api, SECOND)["location"][0]["replicaState"] == "Missing"
        world.done(world.api.delete(f"/volumes/{SECOND}"))
    assert [v["alias"] for v in world.api.get("/volumes").body] == [FIRST]
    in_order()
    usable(world, FIRST, "data")


@AGES
def test_a_moved_replica_is_found_on_its_new_node(
    world: World, capsys: pytest.CaptureFixture[str], age: str
) -> None:
    [old] = world.holders(FIRST)
    if age == BETWEEN:
        world.fleet.set_copy_rate(0)
        drained(world.api, old.persistent_id)
        relocate_replicas()
        for _ in range(6):
            work()
        world.backups.take()
        world.fleet.set_copy_rate(2**40)
        settle()
    else:

        def move() -> None:
            drained(world.api, old.persistent_id)
            settle()

        world.at(age, move)
    [new] = world.holders(FIRST)
    assert new != old
    world.backups.restore()
    recovered(capsys)
    [replica] = Replica.objects.filter(volume__uuid=FIRST)
    assert replica.backend_id == new.persistent_id
    in_order()
    usable(world, FIRST, "data")


@AGES
def test_a_replica_added_since_the_backup_is_kept_as_an_orphan(
    world: World, capsys: pytest.CaptureFixture[str], age: str
) -> None:
    two = {"storageClass": {"numReplicas": 2}}
    created(world.api, SECOND, uuid=SECOND, **two)
    published(world.api, SECOND)

    def add() -> None:
        world.done(world.api.post(f"/replica/{SECOND}", {}))

    world.at(age, add)
    world.backups.restore()
    recovered(capsys)
    assert len(volume(world.api, SECOND)["location"]) == (2 if age == BEFORE else 3)
    if age == BEFORE:
        kept(world, SECOND)
    usable(world, FIRST, "data")
