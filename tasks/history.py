"""Events of tasks. They remain when ``GET /tasks`` no longer lists the task."""

from events.kinds import Kind
from events.recording import record
from tasks.models import Task, TaskType

ROUTINE = frozenset({TaskType.FETCH_INVENTORY, TaskType.UPDATE_INVENTORY})
"""Types of tasks that only read nodes. Clients may start many of them, so only failures are
recorded.
"""


def task_record(task: Task, kind: Kind, reason: str = "") -> None:
    """Record that the task began or ended, in the transaction of that change."""
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
