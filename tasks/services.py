"""Creates, changes and removes tasks. Each state change is one conditional UPDATE according to
TRANSITIONS.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Self

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Coalesce, Greatest

from events.kinds import Kind
from provisioner.common import clock
from provisioner.common.results import ProvisionerError, ResultCode
from tasks.history import task_record
from tasks.lease import LEASE_SECONDS, task_submit
from tasks.models import ACTIVE, ENDED, TRANSITIONS, Task, TaskState, TaskType
from tasks.saga import lock_first, undo
from tasks.selectors import expired_tasks, task_is_hosts
from tasks.submission import tasks_wake

COMPLETE = 100.0

Configuration = Sequence[Mapping[str, str]]
"""``taskConfiguration``: a list of objects with name and value."""


class VolumeHasTask(ProvisionerError):
    """The volume already has an active task; it can have only one."""

    code = ResultCode.TaskAlreadyRunning

    @classmethod
    def of(cls, volume_id: str) -> Self:
        return cls(f"volume {volume_id!r} has an active task")


class TaskNotFound(ProvisionerError):
    code = ResultCode.TaskNotFound


class TaskEnded(ProvisionerError):
    code = ResultCode.TaskEnded


class MoveRefused(ProvisionerError):
    """The requested change of the task is not allowed."""

    code = ResultCode.UpdateTaskFailed


class NoSuchTask(ProvisionerError):
    """Like :class:`TaskNotFound`, with the code of "Remove Task"."""

    code = ResultCode.NoTask


class TaskOngoing(ProvisionerError):
    code = ResultCode.OngoingTask


class TaskOfOtherHost(ProvisionerError):
    code = ResultCode.TaskBelongsToOtherHost


def configuration(params: Mapping[str, str]) -> list[dict[str, str]]:
    """Return parameters in the form in which a task stores them."""
    return [{"name": name, "value": value} for name, value in params.items()]


def task_create(
    *,
    type: TaskType,  # noqa: A002 - the reference's name
    host_id: str = "",
    volume_id: str = "",
    tenant_id: str = "",
    params: Mapping[str, str] | None = None,
    outputs: Mapping[str, Any] | None = None,
    stoppable: bool = False,
    is_begun: bool = False,
) -> Task:
    """Create a task, and submit it on commit. The saga of its type defines the steps.

    It is IDLE, or RUNNING if ``is_begun``, because hosts take IDLE tasks. A new task has a lease,
    so that it is not submitted again at once. Clients see ``params``. ``outputs`` are only for the
    saga.

    :raises VolumeHasTask: ``volume_id`` has an active task.
    """
    task = Task(
        type=type,
        host_id=host_id,
        volume_id=volume_id,
        tenant_id=tenant_id,
        params=configuration(params or {}),
        outputs=dict(outputs or {}),
        stoppable=stoppable,
        state=TaskState.RUNNING if is_begun else TaskState.IDLE,
        started_at=clock.now() if is_begun else None,
        lease_until=clock.now() + dt.timedelta(seconds=LEASE_SECONDS),
    )
    try:
        with transaction.atomic():
            task.save(force_insert=True)
            task_record(task, Kind.TASK_BEGUN)
    except IntegrityError:
        raise VolumeHasTask.of(volume_id) from None
    task_submit(task.pk)
    return task


def task_update(
    *,
    task_id: str,
    host_id: str,
    tenant_id: str | None = None,
    type: TaskType | None = None,  # noqa: A002
    state: TaskState | None = None,
    progress: float | None = None,
    task_status: str | None = None,
    description: str | None = None,
    params: Configuration | None = None,
) -> None:
    """Record the report of the host that carries out a task, and its time. A value of None leaves
    the field unchanged.

    ``params``: clients see these instead of the task's own, which still decide what is done.
    ``progress``, in percent, never decreases, and is 100 once the task is FINISHED. ``tenant_id``:
    only a task of this tenant is found.

    :raises TaskNotFound: the host has no such task.
    :raises TaskEnded: the task has ended.
    :raises MoveRefused: TRANSITIONS do not allow the state; the type differs; the task cannot be
        stopped; or a worker carries out the task, and the report would change its configuration, or
        end it in another way than by an abort.
    """
    mine = _visible(tenant_id).filter(pk=task_id, host_id=host_id)
    rows = mine.filter(state__in=_allowed_from(state))
    if state is TaskState.ABORTED:
        rows = rows.filter(stoppable=True)
    ends = state in {TaskState.FINISHED, TaskState.FAILED}
    if (ends or params is not None) and not all(map(task_is_hosts, mine.all())):
        rows = rows.none()
    if type is not None:
        rows = rows.filter(type=type)
    said = {"task_status": task_status, "description": description, "reported_params": params}
    changes: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    changes |= {"last_activity_at": clock.now()}
    if state is TaskState.FINISHED:
        changes |= {"lease_owner": "", "lease_until": None}
    changes |= _move(state) | _advance(COMPLETE if state is TaskState.FINISHED else progress)
    ends_badly = state in {TaskState.FAILED, TaskState.ABORTED}
    changed = _end(rows, changes) if ends_badly else _update(rows, changes)
    if not changed:
        wanted = state or type or "otherwise configured"
        raise _refusal(mine.first(), task_id, host_id, wanted)


def _end(rows: QuerySet[Task], changes: Mapping[str, Any]) -> int:
    """End tasks as FAILED or ABORTED with ``changes``, and undo their steps, each in one
    transaction. Returns the number of tasks.
    """
    ended = 0
    for task in rows.order_by("pk"):
        with transaction.atomic():
            lock_first(task)
            if rows.filter(pk=task.pk).update(**changes, lease_owner="", lease_until=None):
                undo(Task.objects.get(pk=task.pk))
                is_aborted = changes["state"] == TaskState.ABORTED
                kind = Kind.TASK_ABORTED if is_aborted else Kind.TASK_FAILED
                task_record(task, kind, str(changes.get("description", "")))
                ended += 1
    return ended


def _update(rows: QuerySet[Task], changes: Mapping[str, Any]) -> int:
    """Change tasks, and record events for those that become FINISHED. Returns the number of
    tasks.
    """
    if changes.get("state") != TaskState.FINISHED:
        return rows.update(**changes)
    with transaction.atomic():
        finished = list(rows.select_for_update().order_by("pk"))
        changed = rows.filter(pk__in=[task.pk for task in finished]).update(**changes)
        for task in finished[:changed]:
            task_record(task, Kind.TASK_FINISHED)
    return changed


def _visible(tenant_id: str | None) -> QuerySet[Task]:
    return Task.objects.all() if tenant_id is None else Task.objects.filter(tenant_id=tenant_id)


def _allowed_from(state: TaskState | None) -> list[TaskState]:
    """Return the active states from which a task may change to ``state``, including that state
    itself. None: all active states.
    """
    return sorted(s for s in ACTIVE if state in {None, s} or state in TRANSITIONS[s])


def _move(state: TaskState | None) -> dict[str, Any]:
    if state is None or state is TaskState.IDLE:
        return {}
    now = clock.now()
    started = {"state": state, "started_at": Coalesce(F("started_at"), Value(now))}
    return started | ({"ended_at": now} if state in ENDED else {})


def _advance(progress: float | None) -> dict[str, Any]:
    return {} if progress is None else {"progress": Greatest(F("progress"), Value(progress))}


def _refusal(task: Task | None, task_id: str, host_id: str, wanted: str) -> ProvisionerError:
    """Return the reason why an update changed no row, as far as the row shows it."""
    if task is None:
        return TaskNotFound(f"host {host_id!r} has no task {task_id!r}")
    if task.state in ENDED:
        return TaskEnded(f"task {task_id!r} has already ended: it is {task.state}")
    stoppable = "" if task.stoppable else ", not stoppable"
    return MoveRefused(
        f"task {task_id!r} ({task.type}, {task.state}{stoppable}) cannot become {wanted}"
    )


def tasks_abort(*, volume_id: str, reason: str, only_hosts: bool = False) -> None:
    """Abort the active task of the volume, if there is one. With ``only_hosts``, abort it only if
    its host carries it out.

    Call this in the transaction that locks the volume.
    """
    rows = Task.objects.filter(volume_id=volume_id, state__in=_allowed_from(TaskState.ABORTED))
    if only_hosts:
        rows = rows.filter(pk__in=[task.pk for task in rows if task_is_hosts(task)])
    _end(rows, _move(TaskState.ABORTED) | {"description": reason})


def tasks_touch(*, volume_id: str) -> None:
    """Record that a host reported about the volume, and wake the task of the volume."""
    rows = Task.objects.filter(volume_id=volume_id, state__in=sorted(ACTIVE))
    if rows.update(last_activity_at=clock.now()):
        tasks_wake(volume_id=volume_id)


def tasks_stop(rows: QuerySet[Task], *, description: str) -> int:
    """Abort those tasks in ``rows`` that are active and may be stopped. Returns their number."""
    active = rows.filter(state__in=_allowed_from(TaskState.ABORTED), stoppable=True)
    return _end(active, _move(TaskState.ABORTED) | {"description": description})


def task_delete(*, task_id: str, host_id: str | None = None, tenant_id: str | None = None) -> None:
    """Delete an ended task. With ``host_id``, delete only a task of that host.

    :raises NoSuchTask: there is no such task.
    :raises TaskOfOtherHost: the task belongs to another host.
    :raises TaskOngoing: the task has not ended.
    """
    found = _visible(tenant_id).filter(pk=task_id)
    rows = found.filter(state__in=sorted(ENDED))
    if host_id is not None:
        rows = rows.filter(host_id=host_id)
    if rows.delete()[0]:
        return
    task = found.first()
    if task is None:
        raise NoSuchTask(f"there is no task {task_id!r}")
    if host_id is not None and task.host_id != host_id:
        raise TaskOfOtherHost(f"task {task_id!r} belongs to a host other than {host_id!r}")
    raise TaskOngoing(f"task {task_id!r} is {task.state}: a task can be removed when it has ended")


def ended_purge() -> int:
    """Delete the ended tasks whose retention has expired. Returns their number."""
    return expired_tasks().delete()[0]
