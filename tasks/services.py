"""Making, moving and removing tasks. Each move is one conditional UPDATE along TRANSITIONS."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Self

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Coalesce, Greatest

from provisioner.common import clock
from provisioner.common.results import ProvisionerError, ResultCode
from tasks.lease import LEASE_SECONDS, task_submit
from tasks.models import ACTIVE, ENDED, TRANSITIONS, Task, TaskState, TaskType
from tasks.saga import lock_first, undo
from tasks.selectors import expired_tasks, task_is_hosts
from tasks.submission import tasks_wake

COMPLETE = 100.0

Configuration = Sequence[Mapping[str, str]]
"""``taskConfiguration``: a list of name and value."""


class VolumeHasTask(ProvisionerError):
    """A volume has one active task at most."""

    code = ResultCode.TaskAlreadyRunning

    @classmethod
    def of(cls, volume_id: str) -> Self:
        return cls(f"volume {volume_id!r} has a task that has not ended")


class TaskNotFound(ProvisionerError):
    code = ResultCode.TaskNotFound


class TaskEnded(ProvisionerError):
    code = ResultCode.TaskEnded


class MoveRefused(ProvisionerError):
    """The task cannot become what was asked for."""

    code = ResultCode.UpdateTaskFailed


class NoSuchTask(ProvisionerError):
    """As :class:`TaskNotFound`, by the name that "Remove Task" has for it."""

    code = ResultCode.NoTask


class TaskOngoing(ProvisionerError):
    code = ResultCode.OngoingTask


class TaskOfOtherHost(ProvisionerError):
    code = ResultCode.TaskBelongsToOtherHost


def configuration(params: Mapping[str, str]) -> list[dict[str, str]]:
    """As a task holds it."""
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
    """An IDLE task, submitted on commit to be worked off by the saga of its type; RUNNING if it
    ``is_begun``: hosts take what they find IDLE for theirs.

    It is born with a lease: until that is over it does not count as abandoned. ``params`` are shown
    to clients, ``outputs`` only to the saga.

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
    """What the host that works a task off says of it, and that it was heard; None stays as it is.

    ``progress``, in percent, never falls, and is 100 once the task is FINISHED. ``tenant_id``:
    only a task of this tenant is seen.

    :raises TaskNotFound: no such task of this host.
    :raises TaskEnded: it moves no more.
    :raises MoveRefused: no move of TRANSITIONS, another type, an abort of what cannot be stopped;
        the end, but for an abort, or another configuration of what a worker works off.
    """
    mine = _visible(tenant_id).filter(pk=task_id, host_id=host_id)
    rows = mine.filter(state__in=_origins(state))
    if state is TaskState.ABORTED:
        rows = rows.filter(stoppable=True)
    ends = state in {TaskState.FINISHED, TaskState.FAILED}
    if (ends or params is not None) and not all(map(task_is_hosts, mine.all())):
        rows = rows.none()
    if type is not None:
        rows = rows.filter(type=type)
    said = {"task_status": task_status, "description": description, "params": params}
    changes: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    changes |= {"last_activity_at": clock.now()}
    if state is TaskState.FINISHED:
        changes |= {"lease_owner": "", "lease_until": None}
    changes |= _move(state) | _advance(COMPLETE if state is TaskState.FINISHED else progress)
    ends_badly = state in {TaskState.FAILED, TaskState.ABORTED}
    changed = _end(rows, changes) if ends_badly else rows.update(**changes)
    if not changed:
        wanted = state or type or "otherwise configured"
        raise _update_refused(mine.first(), task_id, host_id, wanted)


def _end(rows: QuerySet[Task], changes: Mapping[str, Any]) -> int:
    """Make tasks FAILED or ABORTED by ``changes``, and undo what they began: each in one
    transaction. How many those were.
    """
    ended = 0
    for task in rows.order_by("pk"):
        with transaction.atomic():
            lock_first(task)
            if rows.filter(pk=task.pk).update(**changes, lease_owner="", lease_until=None):
                undo(Task.objects.get(pk=task.pk))
                ended += 1
    return ended


def _visible(tenant_id: str | None) -> QuerySet[Task]:
    return Task.objects.all() if tenant_id is None else Task.objects.filter(tenant_id=tenant_id)


def _origins(state: TaskState | None) -> list[TaskState]:
    """The active states from which a task may become ``state``, or stay in it; None: all."""
    return sorted(s for s in ACTIVE if state in {None, s} or state in TRANSITIONS[s])


def _move(state: TaskState | None) -> dict[str, Any]:
    if state is None or state is TaskState.IDLE:
        return {}
    now = clock.now()
    started = {"state": state, "started_at": Coalesce(F("started_at"), Value(now))}
    return started | ({"ended_at": now} if state in ENDED else {})


def _advance(progress: float | None) -> dict[str, Any]:
    return {} if progress is None else {"progress": Greatest(F("progress"), Value(progress))}


def _update_refused(task: Task | None, task_id: str, host_id: str, wanted: str) -> ProvisionerError:
    """Why an update changed no row, as far as the row still tells."""
    if task is None:
        return TaskNotFound(f"host {host_id!r} has no task {task_id!r}")
    if task.state in ENDED:
        return TaskEnded(f"task {task_id!r} ended already: it is {task.state}")
    stoppable = "" if task.stoppable else ", not stoppable"
    return MoveRefused(
        f"task {task_id!r} ({task.type}, {task.state}{stoppable}) cannot become {wanted}"
    )


def tasks_abort(*, volume_id: str, reason: str, only_hosts: bool = False) -> None:
    """The volume's task, if one has not ended, is ABORTED; with ``only_hosts``, if its host works
    it off. Within the transaction that holds the volume.
    """
    rows = Task.objects.filter(volume_id=volume_id, state__in=_origins(TaskState.ABORTED))
    if only_hosts:
        rows = rows.filter(pk__in=[task.pk for task in rows if task_is_hosts(task)])
    _end(rows, _move(TaskState.ABORTED) | {"description": reason})


def tasks_touch(*, volume_id: str) -> None:
    """A host said something of the volume: its task may go on, and its host lives."""
    rows = Task.objects.filter(volume_id=volume_id, state__in=sorted(ACTIVE))
    if rows.update(last_activity_at=clock.now()):
        tasks_wake(volume_id=volume_id)


def tasks_stop(rows: QuerySet[Task], *, description: str) -> int:
    """Stop those of ``rows`` that can be stopped and have not ended; how many those were."""
    active = rows.filter(state__in=_origins(TaskState.ABORTED), stoppable=True)
    return _end(active, _move(TaskState.ABORTED) | {"description": description})


def task_delete(*, task_id: str, host_id: str | None = None, tenant_id: str | None = None) -> None:
    """Forget an ended task; with ``host_id``, only if it is that host's.

    :raises NoSuchTask, TaskOfOtherHost, TaskOngoing: as their names say.
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
        raise TaskOfOtherHost(f"task {task_id!r} belongs to another host than {host_id!r}")
    raise TaskOngoing(f"task {task_id!r} is {task.state}: it can be removed when it has ended")


def ended_purge() -> int:
    """Delete the tasks that ended too long ago to be listed; how many those were."""
    return expired_tasks().delete()[0]
