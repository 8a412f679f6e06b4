"""Steps that tests of drains and self-healing share."""

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any

from django.utils import timezone

from inventory.models import Backend
from inventory.nodes.engines.simulated import SimulatedFleet, SimulatedNode
from tasks import runner
from tasks.models import ACTIVE, Task, TaskType
from tests.api.replicas_steps import places, report
from tests.api.volume_steps import HOST
from tests.conftest import Api
from tests.volumes.reconcilers.garbage_collector_steps import collect_overdue
from volumes.models import Replica, ReplicaRelocation
from volumes.reconcilers.relocation import relocate_replicas

ROUNDS_AT_MOST = 100
Pool = Callable[[int], list[str]]


def drain(api: Api, node: str) -> dict[str, Any]:
    """Return the node's drain as ``GET`` shows it."""
    answer = api.get(f"/backends/{node}/drain")
    assert answer.http == 200, answer
    return dict(answer.body)


def drained(api: Api, node: str) -> None:
    assert api.post(f"/backends/{node}/drain").status == "Success"


def refusals(api: Api, node: str) -> dict[str, str]:
    return {row["volumeID"]: row["reason"] for row in drain(api, node)["refusals"]}


def placed_on(nodes: Iterable[str], make: Callable[[], str]) -> str:
    """Create a volume on these nodes. All other nodes are cordoned while it is created."""
    others = Backend.objects.filter(in_use=True).exclude(pk__in=list(nodes))
    cordoned = list(others.values_list("pk", flat=True))
    Backend.objects.filter(pk__in=cordoned).update(in_use=False)
    uuid = make()
    Backend.objects.filter(pk__in=cordoned).update(in_use=True)
    return uuid


def node_named(fleet: SimulatedFleet, persistent_id: str) -> SimulatedNode:
    return next(node for node in fleet.nodes if node.persistent_id == persistent_id)


def write(fleet: SimulatedFleet, uuid: str) -> None:
    """Write to the volume like a host: all replicas hold ``data of <volume>``."""
    for replica in Replica.objects.filter(volume__uuid=uuid, state="READY"):
        node_named(fleet, str(replica.backend_id)).write(replica.uuid, f"data of {uuid}")


def contents(fleet: SimulatedFleet, uuid: str) -> set[str]:
    """Return what the replicas of the volume hold."""
    rows = Replica.objects.filter(volume__uuid=uuid)
    return {node_named(fleet, str(row.backend_id)).read(row.uuid) for row in rows}


def nodes_of(uuid: str) -> set[str | None]:
    return set(Replica.objects.filter(volume__uuid=uuid).values_list("backend_id", flat=True))


def active() -> list[Task]:
    return list(Task.objects.filter(state__in=sorted(ACTIVE)).order_by("created_at"))


def work() -> None:
    """Run each active task as far as possible. Waiting tasks are resumed at once."""
    for task in active():
        Task.objects.filter(pk=task.pk).update(lease_owner="", lease_until=timezone.now())
        runner.run(task.pk)


def retry() -> None:
    """End the pauses of all attempts."""
    ReplicaRelocation.objects.update(again_at=timezone.now() - dt.timedelta(seconds=1))


def settle(host: Callable[[], object] = lambda: None) -> None:
    """Run relocation and tasks until no task is active. ``host`` is called after each round."""
    for _ in range(ROUNDS_AT_MOST):
        relocate_replicas()
        if not active():
            break
        work()
        host()
    else:
        raise AssertionError(f"still active: {active()}")
    collect_overdue()


def host_agent(api: Api, fleet: SimulatedFleet, host: str = HOST) -> Callable[[], None]:
    """Return a function that does the migrations requested of a host's agent, with content."""

    def act() -> None:
        for task in Task.objects.filter(type=TaskType.REMOTE_MIGRATION, state="IDLE"):
            _migrate(api.as_role("HOST"), fleet, task, host)

    return act


def host_without_agent(api: Api, fleet: SimulatedFleet, uuid: str) -> Callable[[], None]:
    """Return a function that acts as a host without an agent. It synchronizes new replicas of the
    volume that are exported, and confirms removals.
    """

    def act() -> None:
        for replica, place in places(api, uuid).items():
            if place["replicaState"] == "Unknown" and place["inUse"]:
                node = node_named(fleet, place["backend"]["persistentID"])
                node.write(replica, f"data of {uuid}")
                report(api, uuid, replica, "Available")
            if place["replicaState"] == "Terminating":
                api.delete(f"/replica/{uuid}/{replica}")

    return act


def _migrate(api: Api, fleet: SimulatedFleet, task: Task, host: str) -> None:
    tags = {tag["name"]: tag["value"] for tag in task.params}
    uuid, outgoing = tags["volId"], tags["replicaId"]
    update = {"taskId": task.pk, "hostId": host}
    assert api.put("/tasks", update | {"state": "RUNNING"}).status == "Success"
    before = set(places(api, uuid))
    assert api.post(f"/replica/{uuid}", {}).status == "Success"
    [new] = set(places(api, uuid)) - before
    node = node_named(fleet, places(api, uuid)[new]["backend"]["persistentID"])
    node.write(new, f"data of {uuid}")
    assert report(api, uuid, new, "Available").status == "Success"
    assert api.patch(f"/replica/{uuid}/{outgoing}").status == "Success"
    assert api.delete(f"/replica/{uuid}/{outgoing}").status == "Success"
    done = {"state": "FINISHED", "progress": 100, "taskStatus": "Success"}
    assert api.put("/tasks", update | done).status == "Success"
