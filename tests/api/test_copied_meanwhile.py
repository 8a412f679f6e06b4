"""Requests of users and hosts while a volume is copied work as usual."""

from collections.abc import Callable

import pytest
from django.utils import timezone

from inventory.models import Backend
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.nodes.wire import RefusalCode
from tests.api.copy_steps import add, advance, move, shown, standing_still
from tests.api.snapshot_steps import cloned, snapped
from tests.api.volume_steps import probe_host, published, volume
from tests.conftest import Api
from tests.sagas.checks import work_off_all
from tests.sagas.volume_worlds import DATA, World
from tests.volumes.reconcilers.garbage_collector_steps import collect_overdue
from volumes.audit import audit
from volumes.models import Export, Replica, Volume

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


@pytest.fixture
def world(api: Api, pool: Pool, fleet: SimulatedFleet) -> World:
    """A pool of four nodes with a volume of two replicas."""
    pool(4)
    return standing_still(api, fleet, replicas=2)


@pytest.fixture
def single(api: Api, pool: Pool, fleet: SimulatedFleet) -> World:
    """A pool of three nodes with a volume of one replica."""
    pool(3)
    return standing_still(api, fleet, replicas=1)


class TestPublishedDuringACopy:
    def test_the_host_rebuilds_the_new_replica_instead(self, world: World) -> None:
        task_id = add(world)
        new = world.new()
        published(world.api, world.uuid, probe_host(world.api))
        assert not world.is_reached(new)
        assert len(volume(world.api, world.uuid)["location"]) == 3
        early = world.api.patch(f"/replica/{world.uuid}/{new.uuid}/Available")
        assert early.status == "NotExists"
        assert early.description == f"replica '{new.uuid}' is being rebuilt: no host can use it yet"
        advance(task_id)
        assert world.is_reached(new)
        assert not Export.objects.filter(for_copy=True).exists()
        assert Replica.objects.get(pk=new.pk).replica_state == "Unknown"
        pending_reason = shown(world.api, task_id)["waitsFor"]
        assert pending_reason == f"its host to report the new replica {new.uuid} Available"
        world.fleet.set_copy_rate(2**40)
        world.host_works("")
        advance(task_id)
        assert shown(world.api, task_id)["state"] == "FINISHED"
        world.expect(3)

    def test_the_new_replica_is_exported_only_after_the_copys_target_is_gone(
        self, world: World
    ) -> None:
        task_id = add(world)
        new = world.new()
        world.node(new).faults.refuse(
            RefusalCode.UNAVAILABLE, method="DELETE", path="/v1/targets", times=0
        )
        published(world.api, world.uuid, probe_host(world.api))
        advance(task_id)
        assert not world.is_reached(new)
        pending_reason = shown(world.api, task_id)["waitsFor"]
        assert pending_reason == f"node {new.backend_id} to remove the copy's target"
        world.node(new).faults.clear()
        advance(task_id)
        assert world.is_reached(new)

    @pytest.mark.parametrize("copied", [False, True])
    def test_a_copy_is_discarded_if_a_host_wrote_between_two_polls(
        self, world: World, copied: bool
    ) -> None:
        """The volume is published, written and unpublished between two polls of the copy."""
        task_id = add(world)
        old = world.new()
        if copied:
            world.fleet.set_copy_rate(2**40)
            world.node(old).faults.refuse(
                RefusalCode.UNAVAILABLE, method="DELETE", path="/v1/targets", times=0
            )
            advance(task_id)
        published(world.api, world.uuid, probe_host(world.api))
        for row in world.rows()[:2]:
            world.node(row).write(row.uuid, "newer")
        world.unpublish()
        world.node(old).faults.clear()
        world.fleet.set_copy_rate(2**40)
        work_off_all()
        assert shown(world.api, task_id)["state"] == "FINISHED"
        assert world.new() != old
        assert [world.node(row).read(row.uuid) for row in world.rows()] == ["newer"] * 3
        collect_overdue()
        assert audit() == []

    def test_publishing_aborts_the_move_of_an_only_replica(self, single: World) -> None:
        task_id = move(single)
        assert len(volume(single.api, single.uuid)["location"]) == 1
        published(single.api, single.uuid, probe_host(single.api))
        task = shown(single.api, task_id)
        assert (task["state"], task["statusDescription"]) == (
            "ABORTED",
            "the volume was published",
        )
        single.expect(1)


class TestRequestsDuringACopy:
    def test_delete_aborts_the_task_and_removes_all_replicas(self, world: World) -> None:
        task_id = add(world)
        assert world.api.delete(f"/volumes/{world.uuid}").status == "Success"
        assert shown(world.api, task_id)["statusDescription"] == "the volume was deleted"
        collect_overdue()
        assert all(node.volumes() == {} for node in world.fleet.nodes)
        assert audit() == []

    @pytest.mark.parametrize("kind", ["world", "single"])
    def test_expand_is_refused_until_the_copy_has_ended(
        self, request: pytest.FixtureRequest, kind: str
    ) -> None:
        world: World = request.getfixturevalue(kind)
        """It waits for the copy; nothing changes."""
        task_id = move(world)
        new = world.new()
        before = world.api.get("/tenants").body
        answer = world.api.patch(f"/volumes/{world.uuid}", {"newCapacity": 11})
        assert answer.status == "NotAvailable"
        assert f"replica '{new.uuid}'" in answer.description
        assert "is being rebuilt" in answer.description
        assert Volume.objects.get().expanding_to_bytes is None
        assert world.api.get("/tenants").body == before
        world.fleet.set_copy_rate(2**40)
        work_off_all()
        assert shown(world.api, task_id)["state"] == "FINISHED"
        assert new in world.rows()
        world.expect(world.replicas)
        answer = world.api.patch(f"/volumes/{world.uuid}", {"newCapacity": 11})
        assert answer.status == "Success"
        world.expect(world.replicas)

    def test_a_snapshot_aborts_the_move_of_its_volume(self, single: World) -> None:
        task_id = move(single)
        snapped(single.api, single.uuid, "s")
        task = shown(single.api, task_id)
        assert (task["state"], task["statusDescription"]) == (
            "ABORTED",
            "a snapshot binds the volume to its node",
        )
        single.expect(1)

    def test_a_clone_does_not_disturb_the_copy(self, single: World) -> None:
        task_id = move(single)
        copy = cloned(single.api, single.uuid, "c")
        single.fleet.set_copy_rate(2**40)
        work_off_all()
        assert shown(single.api, task_id)["state"] == "FINISHED"
        single.expect(1)
        row = Replica.objects.get(uuid=copy)
        assert single.node(row).read(copy) == DATA

    def test_removing_the_new_replica_aborts_the_task(self, world: World) -> None:
        task_id = add(world)
        new = world.new()
        assert world.api.patch(f"/replica/{world.uuid}/{new.uuid}").status == "Success"
        assert shown(world.api, task_id)["state"] == "ABORTED"
        world.expect(2)

    @pytest.mark.parametrize("end", ["source", "destination"])
    def test_a_forced_removal_of_either_node_does_not_stop_the_task(
        self, world: World, end: str
    ) -> None:
        task_id = add(world)
        source, other, new = world.rows()
        lost = source if end == "source" else new
        gone = Backend.objects.filter(pk=lost.backend_id)
        gone.update(available_until=timezone.now())
        assert world.api.delete(f"/backends/{lost.backend_id}", force="true").status == "Success"
        world.fleet.set_copy_rate(2**40)
        work_off_all()
        assert shown(world.api, task_id)["state"] == "FINISHED"
        states = {row.pk: row.replica_state for row in world.rows()}
        third = world.new()
        kept = {source.pk: "Missing" if lost == source else "Available", other.pk: "Available"}
        assert states == kept | {third.pk: "Available"}
        assert third not in {source, other, new}
        assert world.node(third).read(third.uuid) == DATA
        collect_overdue()
        assert audit() == []
