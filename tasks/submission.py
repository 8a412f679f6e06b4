"""Submits tasks to workers, and waits for tasks."""

import datetime as dt
import time

from django.db.models import QuerySet

from provisioner.common import clock
from provisioner.common.database import release_connection
from provisioner.common.queue import messages_waiting
from provisioner.common.results import ProvisionerError, ResultCode
from tasks.lease import LEASE_SECONDS, WAITING, task_submit
from tasks.models import ACTIVE, ENDED, Task, TaskState
from tasks.saga import saga_types

WAITING_AT_MOST = 1000
"""Tasks are not sent again while this many messages wait: most of them are probably for these
tasks, so more messages would only delay new tasks.
"""
WAIT_STEP_SECONDS = 0.1


class TaskFailed(ProvisionerError):
    """The task failed. Code and description are those of the task."""

    def __init__(self, code: ResultCode, description: str) -> None:
        super().__init__(description)
        self.code = code


def tasks_wake(*, volume_id: str) -> None:
    """Run the waiting task of the volume now, because the event that it waits for may have
    happened.
    """
    rows = Task.objects.filter(
        volume_id=volume_id, lease_owner=WAITING, state__in=sorted(ACTIVE), type__in=saga_types()
    )
    for task_id in rows.values_list("pk", flat=True):
        _resubmit(rows.filter(pk=task_id), task_id)


def tasks_requeue() -> int:
    """Submit active tasks again whose lease has expired. Returns their number.

    This recovers from a killed worker, a flushed broker and a lost message. Without workers, the
    queue does not grow further than to WAITING_AT_MOST messages by this. Tasks that are not sent
    again now are sent by a later run, when workers have taken messages.

    :raises Exception: the broker cannot be reached.
    """
    room = max(0, WAITING_AT_MOST - messages_waiting())
    now = clock.now()
    rows = Task.objects.filter(
        state__in=sorted(ACTIVE), lease_until__lte=now, type__in=saga_types()
    )
    oldest = rows.order_by("lease_until").values_list("pk", flat=True)[:room]
    return sum(_resubmit(rows.filter(pk=task_id), task_id) for task_id in list(oldest))


def _resubmit(rows: QuerySet[Task], task_id: str) -> bool:
    """Submit the task if it is still in ``rows``, with a new lease like that of a new task."""
    lease_until = clock.now() + dt.timedelta(seconds=LEASE_SECONDS)
    if not rows.update(lease_owner="", lease_until=lease_until):
        return False
    task_submit(task_id)
    return True


def task_wait(*, task_id: str, seconds: float) -> bool:
    """Wait ``seconds`` for the task. Returns False if it has not ended; it then continues.

    :raises TaskFailed: the task failed with a refusal.
    :raises RuntimeError: the task failed because of a bug, or was stopped.
    """
    give_up = time.monotonic() + seconds
    while True:
        task = Task.objects.filter(pk=task_id, state__in=sorted(ENDED)).first()
        if task is not None:
            _expect_finished(task)
            return True
        if time.monotonic() > give_up:
            return False
        release_connection()
        time.sleep(WAIT_STEP_SECONDS)


def _expect_finished(task: Task) -> None:
    if task.state == TaskState.FAILED and task.task_status != ResultCode.InternalError:
        raise TaskFailed(ResultCode(task.task_status), task.description)
    if task.state != TaskState.FINISHED:
        raise RuntimeError(f"task {task.pk} is {task.state}: {task.description}")
