"""Copies from node to node over HTTP: their visible state, and the events that end them."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from inventory.models import Backend
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.nodes.portal_transports import RDMA, TCP
from inventory.nodes.wire import RefusalCode, SyncState
from inventory.services.node.clients import node_client
from provisioner.common.results import ProvisionerError
from tasks.models import Task
from tests.api.copy_steps import add, advance, let_wait, move, shown, standing_still, stop
from tests.api.snapshot_steps import snapped
from tests.api.volume_steps import GIB, HOST, created, probe_host, published, volume
from tests.conftest import Api
from tests.sagas.checks import work_off_all
from tests.sagas.volume_worlds import World
from tests.volumes.reconcilers.garbage_collector_steps import collect_overdue
from volumes.models import Export
from volumes.services.replica.replace import replica_sync_submit

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


@pytest.fixture
def world(api: Api, pool: Pool, fleet: SimulatedFleet) -> World:
    """A pool of four nodes with a volume of two replicas."""
    pool(4)
    return standing_still(api, fleet, replicas=2)


def test_progress_is_shown_to_clients(world: World) -> None:
    task_id = add(world)
    place = volume(world.api, world.uuid)["location"][2]
    source, new = world.rows()[0], world.new()
    assert (place["replicaState"], place["inUse"]) == ("Synchronizing", False)
    assert place["waitsFor"] == f"its copy to node {new.backend_id} to end"
    task = shown(world.api, task_id)
    assert task["taskConfiguration"] == [
        {"name": "volId", "value": world.uuid},
        {"name": "volumeAlias", "value": "v1"},
    ]
    assert task["waitsFor"] == f"the copy from node {source.backend_id} to {new.backend_id}"
    assert (task["stoppable"], "hostId" in task) == (True, False)
    world.node(source).set_copy_rate(2 * GIB)
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1].get("bytesDone", 0) < GIB:
        seen.append(shown(world.api, advance(task_id)))
    assert seen[-1]["bytesTotal"] == 10 * GIB
    assert seen[-1]["bytesPerSecond"] > 0
    assert seen[-1]["secondsLeft"] > 0
    done = [task.get("bytesDone", 0) for task in seen]
    assert done == sorted(done)
    world.fleet.set_copy_rate(2**40)
    work_off_all()
    task = shown(world.api, task_id)
    assert (task["state"], task["progress"]) == ("FINISHED", 100.0)
    assert "secondsLeft" not in task
    world.expect(3)


def test_a_copy_gets_no_portals_over_rdma(world: World) -> None:
    """Nodes connect to each other over TCP."""
    for backend in Backend.objects.all():
        backend.portals.create(ip="10.0.0.1", port=4420, transport=RDMA)
    add(world)
    source = world.rows()[0]
    assert source.backend
    copy = node_client(source.backend).read_sync(source.uuid)
    assert copy
    assert [portal.transport for portal in copy.portals] == [TCP]


def test_a_stopped_task_leaves_nothing_on_the_node(world: World) -> None:
    task_id = add(world)
    place = world.node(world.new())
    stop(world.api, task_id)
    assert shown(world.api, task_id)["state"] == "ABORTED"
    world.expect(2)
    assert place.volumes() == {}
    assert place.engine.targets == {}


@pytest.mark.parametrize("end", ["source", "destination"])
def test_a_copy_starts_again_after_a_restart_of_either_node(world: World, end: str) -> None:
    task_id = add(world)
    source, new = world.rows()[0], world.new()
    world.node(source if end == "source" else new).restart()
    world.fleet.set_copy_rate(2**40)
    work_off_all()
    assert shown(world.api, task_id)["state"] == "FINISHED"
    assert world.new() == new
    assert Task.objects.get().outputs["copies"] == 2
    world.expect(3)


@pytest.mark.parametrize("end", ["source", "destination"])
def test_a_copy_restarts_only_after_the_previous_target_is_removed(world: World, end: str) -> None:
    """Until then, a failed or forgotten copy may still write."""
    task_id = add(world)
    source, new = world.rows()[0], world.new()
    first = Export.objects.get(for_copy=True)
    world.node(source if end == "source" else new).restart()
    world.node(new).faults.refuse(
        RefusalCode.UNAVAILABLE, method="DELETE", path="/v1/targets", times=0
    )
    for _ in range(2):
        advance(task_id)
        assert list(world.node(new).engine.targets) == [first.target_nqn]
        states = Export.objects.filter(for_copy=True).values_list("pk", "state")
        later = Export.objects.get(for_copy=True, state="CREATING").pk
        assert set(states) == {(first.pk, "DELETING"), (later, "CREATING")}
        found = world.node(source).run(world.node(source).engine.copy(source.uuid))
        assert found is None or found.state is SyncState.FAILED
        assert Task.objects.get().outputs["copies"] == 1
    world.node(new).faults.clear()
    world.fleet.set_copy_rate(2**40)
    work_off_all()
    assert shown(world.api, task_id)["state"] == "FINISHED"
    assert Task.objects.get().outputs["copies"] == 2
    assert world.new() == new
    world.expect(3)


def test_a_publish_between_two_attempts_cancels_the_copy(world: World) -> None:
    task_id = add(world)
    new = world.new()
    world.node(world.rows()[0]).restart()
    world.node(new).faults.refuse(
        RefusalCode.UNAVAILABLE, method="DELETE", path="/v1/targets", times=0
    )
    advance(task_id)
    published(world.api, world.uuid, probe_host(world.api))
    assert set(Export.objects.filter(for_copy=True).values_list("state")) == {("DELETING",)}
    advance(task_id)
    assert not world.is_reached(new)
    world.node(new).faults.clear()
    advance(task_id)
    assert not Export.objects.filter(for_copy=True).exists()
    assert world.is_reached(new)


def test_a_copy_that_always_fails_ends_the_task(world: World) -> None:
    task_id = add(world)
    for _ in range(10):
        world.node(world.new()).restart()
        advance(task_id)
    task = shown(world.api, task_id)
    assert (task["state"], task["taskStatus"]) == ("FAILED", "NotAvailable")
    assert "failed 10 times: target nqn.2022-08.com.kioxia.copy:" in task["statusDescription"]
    world.expect(2)


def test_a_source_node_that_does_not_return_fails_the_task(world: World) -> None:
    task_id = add(world)
    world.node(world.rows()[0]).faults.go_down()
    assert "waitsFor" in shown(world.api, advance(task_id))
    let_wait(601)
    advance(task_id)
    task = shown(world.api, task_id)
    assert (task["state"], task["taskStatus"]) == ("FAILED", "NotAvailable")
    assert task["statusDescription"].startswith(
        "timed out after 600 s waiting for the copy from node"
    )
    world.node(world.rows()[0]).faults.come_up()
    world.expect(2)


def test_a_copy_may_take_longer_than_a_day(world: World) -> None:
    """The copy of a large volume may take that long, and another attempt would not be faster."""
    task_id = add(world)
    make_the_task_a_day_old()
    world.fleet.set_copy_rate(1)
    advance(task_id)
    faults = world.node(world.rows()[0]).faults
    faults.go_down()
    advance(task_id)
    assert shown(world.api, task_id)["state"] == "RUNNING"
    faults.come_up()
    world.fleet.set_copy_rate(2**40)
    work_off_all()
    assert shown(world.api, task_id)["state"] == "FINISHED"
    world.expect(3)


def make_the_task_a_day_old() -> None:
    Task.objects.update(created_at=timezone.now() - dt.timedelta(hours=24))


def test_a_node_that_cannot_create_the_replica_is_replaced(world: World) -> None:
    assert world.api.post(f"/replica/{world.uuid}", {}).status == "Success"
    refuses = world.node(world.new())
    refuses.faults.refuse(RefusalCode.NO_SPACE, method="PUT", path="/v1/volumes", times=0)
    world.fleet.set_copy_rate(2**40)
    work_off_all()
    refuses.faults.clear()
    assert world.node(world.new()) is not refuses
    assert Task.objects.get().state == "FINISHED"
    world.expect(3)


def test_no_copy_starts_while_a_host_may_still_write(world: World) -> None:
    """The volume is unpublished, but the source's node has not confirmed it."""
    published(world.api, world.uuid, probe_host(world.api))
    first, second = world.rows()
    for row in (first, second):
        faults = world.node(row).faults
        faults.refuse(RefusalCode.UNAVAILABLE, method="DELETE", path="/v1/targets", times=0)
    answer = world.api.post("/unpublish", {"volId": world.uuid, "hostId": HOST})
    assert answer.status == "UnpublishFailed"
    task_id = add(world)
    assert shown(world.api, task_id)["waitsFor"] == (
        f"node {first.backend_id} to stop exporting it"
    )
    assert world.node(world.new()).engine.targets == {}
    world.node(first).write(first.uuid, "late")
    world.node(second).write(second.uuid, "late")
    for row in (first, second):
        world.node(row).faults.clear()
    collect_overdue()
    world.fleet.set_copy_rate(2**40)
    work_off_all()
    assert shown(world.api, task_id)["state"] == "FINISHED"
    assert world.node(world.new()).read(world.new().uuid) == "late"


class TestOutgoingReplica:
    """An outgoing replica of a published volume, which the host must release."""

    @pytest.fixture
    def online(self, world: World) -> World:
        published(world.api, world.uuid, probe_host(world.api))
        return world

    def marked(self, world: World) -> str:
        """The new replica is Available, and the old one Terminating."""
        task_id = move(world)
        world.host_works("")
        advance(task_id)
        assert world.rows()[0].replica_state == "Terminating"
        return task_id

    def test_the_outgoing_replica_goes_if_its_host_does_not_confirm(self, online: World) -> None:
        task_id = self.marked(online)
        old = online.rows()[0]
        let_wait(601)
        advance(task_id)
        assert shown(online.api, task_id)["state"] == "FINISHED"
        assert old not in online.rows()
        online.expect(2)

    def test_a_task_stopped_after_the_mark_removes_the_outgoing_replica(
        self, online: World
    ) -> None:
        """The host may have written only to the new replica, so the old one is removed in any
        case.
        """
        task_id = self.marked(online)
        old = online.rows()[0]
        stop(online.api, task_id)
        assert old not in online.rows()
        online.expect(2)

    def test_the_outgoing_replica_is_missing_if_the_new_one_is_lost(self, online: World) -> None:
        task_id = self.marked(online)
        old, staying, new = online.rows()
        online.report(new.uuid, "Missing")
        stop(online.api, task_id)
        states = {row.pk: row.replica_state for row in online.rows()}
        assert states == {old.pk: "Missing", staying.pk: "Available"}

    def test_the_task_fails_if_another_replica_is_terminating(self, online: World) -> None:
        task_id = move(online)
        online.host_works("")
        old, staying, _ = online.rows()
        path = f"/replica/{online.uuid}/{staying.uuid}"
        assert online.api.patch(path).status == "Success"
        advance(task_id)
        assert shown(online.api, task_id)["taskStatus"] == "ReplicaTerminating"
        states = {row.pk: row.replica_state for row in online.rows()}
        assert states == {old.pk: "Available", staying.pk: "Terminating"}

    def test_the_task_fails_if_the_host_needs_more_than_a_day(self, online: World) -> None:
        task_id = move(online)
        online.report(online.new().uuid, "Synchronizing")
        make_the_task_a_day_old()
        advance(task_id)
        description = shown(online.api, task_id)["statusDescription"]
        assert description.startswith("not done after 86400 s, waiting for its host to")
        online.expect(2)

    def test_the_task_fails_if_the_host_makes_no_progress(self, online: World) -> None:
        task_id = move(online)
        let_wait(601)
        advance(task_id)
        task = shown(online.api, task_id)
        assert (task["state"], task["taskStatus"]) == ("FAILED", "NotAvailable")
        online.expect(2)


def test_a_replica_that_cannot_be_replaced_is_refused(world: World, api: Api) -> None:
    def refusal(**fields: Any) -> str:
        with pytest.raises(ProvisionerError) as caught:
            replica_sync_submit(**{"volume_uuid": world.uuid, "outgoing_uuid": None} | fields)
        return f"{caught.value.code}: {caught.value.description}"

    first = world.rows()[0].uuid
    only = created(api, "only")
    assert refusal(volume_uuid="none") == "NotExists: there is no volume 'none'"
    assert refusal(outgoing_uuid="none").startswith("NotExists")
    assert refusal(volume_uuid=only).startswith("NotReplicated")
    nowhere = refusal(outgoing_uuid=first, destination="none")
    assert nowhere.startswith("NotEnoughMatchingBackends")
    published(api, only, probe_host(api))
    busy = refusal(volume_uuid=only, outgoing_uuid=only)
    assert busy == f"NotAvailable: volume '{only}' has one replica and is published: unpublish it"
    api.post("/unpublish", {"volId": only, "hostId": HOST})
    snapped(api, only, "s")
    bound = refusal(volume_uuid=only, outgoing_uuid=only)
    assert bound == f"NotAvailable: volume '{only}' has snapshots, and must stay on their node"
    holders = [row.backend_id for row in world.rows()]
    Backend.objects.filter(pk__in=holders).update(
        available_until=timezone.now() - dt.timedelta(seconds=1)
    )
    assert "can be read" in refusal(outgoing_uuid=first)
    Backend.objects.update(available_until=timezone.now() + dt.timedelta(hours=1))
    move(world)
    assert refusal(outgoing_uuid=first).startswith("TaskAlreadyRunning")
    assert Task.objects.count() == 1
