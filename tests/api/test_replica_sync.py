"""Copies from node to node over HTTP: what clients see, what stops them, and what users do
meanwhile.
"""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from inventory.models import Backend
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.nodes.wire import RefusalCode
from provisioner.common.results import ProvisionerError
from tasks import runner
from tasks.models import Task
from tests.api.snapshot_steps import cloned, snapped
from tests.api.volume_steps import GIB, HOST, created, probe_host, published, volume
from tests.conftest import Api
from tests.sagas.checks import resume, work_off_all
from tests.sagas.volume_worlds import DATA, World
from tests.services.test_unfinished import collect_overdue
from volumes.models import Export, Replica
from volumes.services.audit import audit
from volumes.services.replica_sync import replica_sync_submit

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


@pytest.fixture
def world(api: Api, pool: Pool, fleet: SimulatedFleet) -> World:
    """An unpublished volume of two replicas; copies stand still."""
    pool(4)
    world = World(api, fleet)
    world.volume()
    fleet.set_copy_rate(0)
    return world


@pytest.fixture
def single(api: Api, pool: Pool, fleet: SimulatedFleet) -> World:
    """An unpublished volume of one replica; copies stand still."""
    pool(3)
    world = World(api, fleet, replicas=1)
    world.volume()
    fleet.set_copy_rate(0)
    return world


def add(world: World) -> str:
    """A replica is added, and its copy has begun; the task's id."""
    assert world.api.post(f"/replica/{world.uuid}", {}).status == "Success"
    return advance(Task.objects.get(volume_id=world.uuid).pk)


def move(world: World) -> str:
    """The first replica leaves, and the copy of it has begun; the task's id."""
    leaving = world.rows()[0].uuid
    return advance(replica_sync_submit(volume_uuid=world.uuid, leaving_uuid=leaving).pk)


def advance(task_id: str) -> str:
    resume(task_id)
    runner.run(task_id)
    return task_id


def let_wait(seconds: int) -> None:
    """As if the only task had waited that much longer for the same."""
    outputs = Task.objects.get().outputs
    sign, since = outputs["waits"]
    Task.objects.update(outputs=outputs | {"waits": [sign, since - seconds]})


def shown(api: Api, task_id: str) -> dict[str, Any]:
    [task] = api.get("/tasks", taskId=task_id).body
    return dict(task)


def stop(api: Api, task_id: str) -> None:
    answer = api.put("/tasks", {"taskId": task_id, "hostId": "", "state": "ABORTED"})
    assert answer.status == "Success", answer


def test_progress(world: World) -> None:
    task_id = add(world)
    place = volume(world.api, world.uuid)["location"][2]
    source, new = world.rows()[0], world.new()
    assert (place["replicaState"], place["inUse"]) == ("Synchronizing", False)
    assert place["waitsFor"] == f"its copy onto node {new.backend_id} to end"
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


def test_stopped(world: World) -> None:
    task_id = add(world)
    place = world.node(world.new())
    stop(world.api, task_id)
    assert shown(world.api, task_id)["state"] == "ABORTED"
    world.expect(2)
    assert place.volumes() == {}
    assert place.engine.targets == {}


@pytest.mark.parametrize("end", ["source", "destination"])
def test_a_node_restarts(world: World, end: str) -> None:
    task_id = add(world)
    source, new = world.rows()[0], world.new()
    world.node(source if end == "source" else new).restart()
    world.fleet.set_copy_rate(2**40)
    work_off_all()
    assert shown(world.api, task_id)["state"] == "FINISHED"
    assert world.new() == new
    assert Task.objects.get().outputs["copies"] == 2
    world.expect(3)


def test_a_copy_that_always_fails_ends(world: World) -> None:
    task_id = add(world)
    for _ in range(10):
        world.node(world.new()).restart()
        advance(task_id)
    task = shown(world.api, task_id)
    assert (task["state"], task["taskStatus"]) == ("FAILED", "NotAvailable")
    assert "failed 10 times: target nqn.2022-08.com.kioxia.copy:" in task["statusDescription"]
    world.expect(2)


def test_a_node_that_stays_away_ends_it(world: World) -> None:
    task_id = add(world)
    world.node(world.rows()[0]).faults.go_down()
    assert "waitsFor" in shown(world.api, advance(task_id))
    let_wait(601)
    advance(task_id)
    task = shown(world.api, task_id)
    assert (task["state"], task["taskStatus"]) == ("FAILED", "NotAvailable")
    assert task["statusDescription"].startswith("waited 600 s in vain for the copy from node")
    world.node(world.rows()[0]).faults.come_up()
    world.expect(2)


def test_a_node_that_cannot_make_it_is_replaced(world: World) -> None:
    assert world.api.post(f"/replica/{world.uuid}", {}).status == "Success"
    refuses = world.node(world.new())
    refuses.faults.refuse(RefusalCode.NO_SPACE, method="PUT", path="/v1/volumes", times=0)
    world.fleet.set_copy_rate(2**40)
    work_off_all()
    refuses.faults.clear()
    assert world.node(world.new()) is not refuses
    assert Task.objects.get().state == "FINISHED"
    world.expect(3)


class TestPublishedMeanwhile:
    def test_the_host_fills_it_instead(self, world: World) -> None:
        task_id = add(world)
        new = world.new()
        published(world.api, world.uuid, probe_host(world.api))
        assert not world.is_reached(new)
        assert len(volume(world.api, world.uuid)["location"]) == 3
        early = world.api.patch(f"/replica/{world.uuid}/{new.uuid}/Available")
        assert early.status == "NotExists"
        assert early.description == f"replica '{new.uuid}' is being filled: no host sees it yet"
        advance(task_id)
        assert world.is_reached(new)
        assert not Export.objects.filter(for_copy=True).exists()
        assert Replica.objects.get(pk=new.pk).replica_state == "Unknown"
        waits_for = shown(world.api, task_id)["waitsFor"]
        assert waits_for == f"its host to report the new replica {new.uuid} Available"
        world.fleet.set_copy_rate(2**40)
        world.host_works("")
        advance(task_id)
        assert shown(world.api, task_id)["state"] == "FINISHED"
        world.expect(3)

    def test_not_before_the_copys_target_is_gone(self, world: World) -> None:
        task_id = add(world)
        new = world.new()
        world.node(new).faults.refuse(
            RefusalCode.UNAVAILABLE, method="DELETE", path="/v1/targets", times=0
        )
        published(world.api, world.uuid, probe_host(world.api))
        advance(task_id)
        assert not world.is_reached(new)
        waits_for = shown(world.api, task_id)["waitsFor"]
        assert waits_for == f"node {new.backend_id} to withdraw the copy's target"
        world.node(new).faults.clear()
        advance(task_id)
        assert world.is_reached(new)

    @pytest.mark.parametrize("copied", [False, True])
    def test_written_in_between(self, world: World, copied: bool) -> None:
        """Published, written and unpublished between two looks of the task at its copy."""
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

    def test_an_only_replica_stays_where_it_is(self, single: World) -> None:
        task_id = move(single)
        assert len(volume(single.api, single.uuid)["location"]) == 1
        published(single.api, single.uuid, probe_host(single.api))
        task = shown(single.api, task_id)
        assert (task["state"], task["statusDescription"]) == (
            "ABORTED",
            "the volume was published",
        )
        single.expect(1)


class TestUsersMeanwhile:
    def test_delete(self, world: World) -> None:
        task_id = add(world)
        assert world.api.delete(f"/volumes/{world.uuid}").status == "Success"
        assert shown(world.api, task_id)["statusDescription"] == "the volume was deleted"
        collect_overdue()
        assert all(node.volumes() == {} for node in world.fleet.nodes)
        assert audit() == []

    @pytest.mark.parametrize("kind", ["world", "single"])
    def test_grow(self, request: pytest.FixtureRequest, kind: str) -> None:
        world: World = request.getfixturevalue(kind)
        task_id = move(world)
        old = world.new()
        answer = world.api.patch(f"/volumes/{world.uuid}", {"newCapacity": 11})
        assert answer.status == "Success"
        world.fleet.set_copy_rate(2**40)
        work_off_all()
        assert shown(world.api, task_id)["state"] == "FINISHED"
        assert old not in world.rows()
        world.expect(world.replicas)

    def test_snapshot(self, single: World) -> None:
        task_id = move(single)
        snapped(single.api, single.uuid, "s")
        task = shown(single.api, task_id)
        assert (task["state"], task["statusDescription"]) == (
            "ABORTED",
            "a snapshot binds the volume to its node",
        )
        single.expect(1)

    def test_clone(self, single: World) -> None:
        task_id = move(single)
        copy = cloned(single.api, single.uuid, "c")
        single.fleet.set_copy_rate(2**40)
        work_off_all()
        assert shown(single.api, task_id)["state"] == "FINISHED"
        single.expect(1)
        row = Replica.objects.get(uuid=copy)
        assert single.node(row).read(copy) == DATA

    def test_the_new_replica_is_removed(self, world: World) -> None:
        task_id = add(world)
        new = world.new()
        assert world.api.patch(f"/replica/{world.uuid}/{new.uuid}").status == "Success"
        assert shown(world.api, task_id)["state"] == "ABORTED"
        world.expect(2)

    def test_a_forced_removal_of_the_new_node(self, world: World) -> None:
        task_id = add(world)
        lost = world.new()
        gone = Backend.objects.filter(pk=lost.backend_id)
        gone.update(available_until=timezone.now())
        assert world.api.delete(f"/backends/{lost.backend_id}", force="true").status == "Success"
        assert world.rows() == [row for row in world.rows() if row != lost]
        world.fleet.set_copy_rate(2**40)
        work_off_all()
        assert shown(world.api, task_id)["state"] == "FINISHED"
        assert world.new().backend_id != lost.backend_id
        world.expect(3)


class TestLeaving:
    """One of a published volume, which its host must let go."""

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

    def test_a_host_that_does_not_confirm(self, online: World) -> None:
        task_id = self.marked(online)
        old = online.rows()[0]
        let_wait(601)
        advance(task_id)
        assert shown(online.api, task_id)["state"] == "FINISHED"
        assert old not in online.rows()
        online.expect(2)

    def test_stopped_when_the_host_was_told(self, online: World) -> None:
        """It may have written to the new one only: the old one goes all the same."""
        task_id = self.marked(online)
        old = online.rows()[0]
        stop(online.api, task_id)
        assert old not in online.rows()
        online.expect(2)

    def test_the_new_one_is_lost_then(self, online: World) -> None:
        task_id = self.marked(online)
        old, staying, new = online.rows()
        online.report(new.uuid, "Missing")
        stop(online.api, task_id)
        states = {row.pk: row.replica_state for row in online.rows()}
        assert states == {old.pk: "Missing", staying.pk: "Available"}

    def test_a_host_that_never_fills_it(self, online: World) -> None:
        task_id = move(online)
        let_wait(601)
        advance(task_id)
        task = shown(online.api, task_id)
        assert (task["state"], task["taskStatus"]) == ("FAILED", "NotAvailable")
        online.expect(2)


def test_refused(world: World, api: Api) -> None:
    def refusal(**fields: Any) -> str:
        with pytest.raises(ProvisionerError) as caught:
            replica_sync_submit(**{"volume_uuid": world.uuid, "leaving_uuid": None} | fields)
        return f"{caught.value.code}: {caught.value.description}"

    first = world.rows()[0].uuid
    only = created(api, "only")
    assert refusal(volume_uuid="none") == "NotExists: there is no volume 'none'"
    assert refusal(leaving_uuid="none").startswith("NotExists")
    assert refusal(volume_uuid=only).startswith("NotReplicated")
    nowhere = refusal(leaving_uuid=first, destination="none")
    assert nowhere.startswith("NotEnoughMatchingBackends")
    published(api, only, probe_host(api))
    busy = refusal(volume_uuid=only, leaving_uuid=only)
    assert busy == f"NotAvailable: volume '{only}' has one replica and is published: unpublish it"
    api.post("/unpublish", {"volId": only, "hostId": HOST})
    snapped(api, only, "s")
    bound = refusal(volume_uuid=only, leaving_uuid=only)
    assert bound == f"NotAvailable: volume '{only}' has snapshots, which lie where it lies"
    holders = [row.backend_id for row in world.rows()]
    Backend.objects.filter(pk__in=holders).update(
        available_until=timezone.now() - dt.timedelta(seconds=1)
    )
    assert "can be read" in refusal(leaving_uuid=first)
    Backend.objects.update(available_until=timezone.now() + dt.timedelta(hours=1))
    move(world)
    assert refusal(leaving_uuid=first).startswith("TaskAlreadyRunning")
    assert Task.objects.count() == 1
