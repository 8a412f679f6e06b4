"""Shared steps of the tests of copies."""

from typing import Any

from inventory.nodes.engines.simulated import SimulatedFleet
from tasks import runner
from tasks.models import Task
from tests.conftest import Api
from tests.sagas.checks import resume
from tests.sagas.volume_worlds import World
from volumes.services.replica.replace import replica_sync_submit


def standing_still(api: Api, fleet: SimulatedFleet, replicas: int) -> World:
    """Create an unpublished volume with this number of replicas. Copies make no progress."""
    world = World(api, fleet, replicas)
    world.volume()
    fleet.set_copy_rate(0)
    return world


def add(world: World) -> str:
    """Add a replica, and wait until its copy has begun. Returns the task's id."""
    assert world.api.post(f"/replica/{world.uuid}", {}).status == "Success"
    return advance(Task.objects.get(volume_id=world.uuid).pk)


def move(world: World) -> str:
    """Move the first replica, and wait until its copy has begun. Returns the task's id."""
    outgoing = world.rows()[0].uuid
    return advance(replica_sync_submit(volume_uuid=world.uuid, outgoing_uuid=outgoing).pk)


def advance(task_id: str) -> str:
    resume(task_id)
    runner.run(task_id)
    return task_id


def let_wait(seconds: int) -> None:
    """Change the only task as if it had waited longer for the same event, by this time."""
    outputs = Task.objects.get().outputs
    sign, since = outputs["waits"]
    Task.objects.update(outputs=outputs | {"waits": [sign, since - seconds]})


def shown(api: Api, task_id: str) -> dict[str, Any]:
    [task] = api.get("/tasks", taskId=task_id).body
    return dict(task)


def stop(api: Api, task_id: str) -> None:
    answer = api.put("/tasks", {"taskId": task_id, "hostId": "", "state": "ABORTED"})
    assert answer.status == "Success", answer
