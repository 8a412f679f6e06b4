"""A copy, several workers, and hosts that attach and detach the volume, all at once."""

from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from django.utils import timezone

from inventory.nodes.engines.simulated import SimulatedFleet
from provisioner.common.results import ProvisionerError
from tasks import runner
from tasks.lease import WAITING
from tasks.models import ENDED, Task
from tests.api.volume_steps import probe_host, published
from tests.concurrency.volumes_steps import at_once
from tests.conftest import Api
from tests.sagas.volume_worlds import World
from tests.volumes.reconcilers.garbage_collector_steps import collect_overdue
from volumes.audit import audit
from volumes.services.replica.replace import replica_sync_submit

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


@pytest.fixture
def world(api: Api, pool: Pool, fleet: SimulatedFleet) -> World:
    pool(4)
    world = World(api, fleet)
    world.volume()
    return world


def submit(world: World) -> str:
    try:
        outgoing = world.rows()[0].uuid
        return replica_sync_submit(volume_uuid=world.uuid, outgoing_uuid=outgoing).pk
    except ProvisionerError as error:
        return error.code.value


def work(task_id: str) -> None:
    """Run a worker that gets every message. A message does nothing if another worker has the
    lease.
    """
    for _ in range(300):
        runner.run(task_id)
        if Task.objects.get(pk=task_id).state in ENDED:
            return
        # waits are shortened, but leases are not
        Task.objects.filter(pk=task_id, lease_owner=WAITING).update(lease_until=timezone.now())


def test_simultaneous_submissions_create_one_task(world: World) -> None:
    world.fleet.set_copy_rate(0)
    answers = Counter(at_once([partial(submit, world)] * 4))
    assert answers["TaskAlreadyRunning"] == 3
    assert Task.objects.count() == 1
    assert len(world.rows()) == 3


def test_two_workers_with_one_task_do_its_work_once(world: World) -> None:
    task_id = submit(world)
    at_once([partial(work, task_id)] * 2)
    assert Task.objects.get().state == "FINISHED"
    world.expect(2)


@pytest.mark.parametrize("rate", [0, 2**40])
def test_no_write_of_a_host_is_lost_while_the_volume_is_copied(world: World, rate: int) -> None:
    """Every Available replica has the data that was written last."""
    world.fleet.set_copy_rate(rate)
    task_id = submit(world)

    work_it: Callable[[], None] = partial(work, task_id)

    def use() -> None:
        for number in range(4):
            published(world.api, world.uuid, probe_host(world.api))
            for row in world.rows():
                if row.replica_state == "Available" and world.is_reached(row):
                    world.node(row).write(row.uuid, f"write {number}")
            world.unpublish()
        world.fleet.set_copy_rate(2**40)

    at_once([use, work_it])
    work(task_id)
    assert Task.objects.get().state in {"FINISHED", "FAILED"}
    collect_overdue()
    rows = world.rows()
    assert [row.replica_state for row in rows] == ["Available"] * 2
    assert [world.node(row).read(row.uuid) for row in rows] == ["write 3"] * 2
    assert audit() == []


def test_simultaneous_adds_of_a_replica_add_one(world: World) -> None:
    """The others are refused with a code that the operation has."""
    calls = [partial(world.api.post, f"/replica/{world.uuid}", {})] * 4
    answers = Counter(answer.status for answer in at_once(calls))
    assert answers == {"Success": 1, "NotAvailable": 3}
