"""Events of tasks: what is left of a task when ``GET /tasks`` no longer lists it."""

from events.kinds import Kind
from events.recording import record
from tasks.models import Task, TaskType

ROUTINE = frozenset({TaskType.FETCH_INVENTORY, TaskType.UPDATE_INVENTORY})
"""They read nodes and change nothing, as often as clients ask: recorded only if they fail."""


def task_record(task: Task, kind: Kind, reason: str = "") -> None:
    """Record that the task began or ended, in the transaction in which it does."""
    if task.type in ROUTINE and kind != Kind.TASK_FAILED:
        return
    record(
        kind,
        tenant=task.tenant_id,
        reason=reason,
        task=task.pk,
        volume=task.volume_id or None,
        host=task.host_id or None,
        type=str(task.type),
        taskConfiguration=task.params,
    )
