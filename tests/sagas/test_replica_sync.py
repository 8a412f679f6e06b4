"""ReplicaSync adds a replica, replaces one, or moves the only one."""

from collections.abc import Callable

import psycopg
import pytest
from django.db import connection, transaction
from django.utils import timezone

from inventory.nodes.engines.simulated import SimulatedFleet
from tasks.models import Task, TaskType
from tasks.runner import run
from tasks.saga import saga_of
from tests.conftest import Api
from tests.sagas.checks import (
    ALONE,
    Case,
    Killed,
    SagaChecks,
    acting,
    die,
    nothing,
    resume,
    work_off,
)
from tests.sagas.volume_worlds import World
from volumes.models import Volume
from volumes.sagas.replace_replica.steps import lock_volume
from volumes.services.replica.replace import replica_sync_submit

pytestmark = pytest.mark.django_db(transaction=True)

VARIANTS = {
    "one more": (2, False, False),
    "replaced by copy": (2, False, True),
    "replaced by its host": (2, True, True),
    "the only one moves": (1, False, True),
}


class TestReplicaSync(SagaChecks):
    type = TaskType.REPLICA_SYNC

    @pytest.fixture(params=VARIANTS)
    def case(
        self,
        request: pytest.FixtureRequest,
        api: Api,
        pool: Callable[[int], list[str]],
        fleet: SimulatedFleet,
    ) -> Case:
        replicas, is_published, leaves = VARIANTS[request.param]
        pool(3)
        world = World(api, fleet, replicas, is_published)
        place = ""

        def submit() -> str:
            nonlocal place
            uuid = world.volume()
            place = str(world.rows()[0].backend_id)
            outgoing = world.rows()[0].uuid if leaves else None
            return replica_sync_submit(volume_uuid=uuid, outgoing_uuid=outgoing).pk

        def done() -> None:
            world.expect(replicas if leaves else replicas + 1)
            assert (place in {row.backend_id for row in world.rows()}) is not leaves

        def undone() -> None:
            world.expect(replicas)

        meanwhile = world.host_works if is_published else nothing
        return Case(submit, done, undone, world.losses(), world.expect_no_false_data, meanwhile)


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_new_replica_lost_before_the_last_step_does_not_take_over(
    api: Api, pool: Callable[[int], list[str]], fleet: SimulatedFleet, replicas: int
) -> None:
    """The node is asked again right before the end, even if a step has asked it before."""
    pool(3)
    world = World(api, fleet, replicas)
    world.volume()
    outgoing = world.rows()[0].uuid
    task_id = replica_sync_submit(volume_uuid=world.uuid, outgoing_uuid=outgoing).pk
    saga = saga_of(Task(type=TaskType.REPLICA_SYNC))
    assert saga is not None
    with acting(saga, len(saga.steps) - 1, "before", die), pytest.raises(Killed):
        work_off(ALONE, task_id)
    new = world.new()
    world.node(new).faults.go_down()
    resume(task_id)
    run(task_id)
    pending_reason = Task.objects.get(pk=task_id).outputs["waits_for"]
    assert pending_reason == f"node {new.backend_id} to show the new replica"
    world.node(new).faults.come_up()
    world.node(new).vanish(new.uuid)
    resume(task_id)
    task = work_off(ALONE, task_id)
    assert (task.state, task.task_status) == ("FAILED", "NotAvailable")
    assert "is lost" in task.description
    world.expect(replicas)
    assert outgoing in {row.uuid for row in world.rows()}


def test_a_deleted_volume_of_the_same_uuid_is_not_locked(
    api: Api, pool: Callable[[int], list[str]], fleet: SimulatedFleet
) -> None:
    """It has no task. A lock on it would wait for workers that remove the deleted volume."""
    pool(3)
    uuid = World(api, fleet).volume()
    task_id = replica_sync_submit(volume_uuid=uuid, outgoing_uuid=None).pk
    row = Volume.objects.get(uuid=uuid)
    row.pk, row.state, row.deadline_at = None, "DELETING", timezone.now()
    row.save(force_insert=True)
    with psycopg.connect(**connection.get_connection_params()) as other:
        query = "SELECT FROM volumes_volume WHERE id = %s FOR UPDATE"
        assert other.execute(query, [row.pk]).rowcount == 1
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '1s'")
            lock_volume(Task.objects.get(pk=task_id))
