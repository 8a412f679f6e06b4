"""Reads tasks."""

import datetime as dt
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Q, QuerySet

from provisioner.common import clock
from provisioner.common.compiled import Compiled, text
from tasks.lease import PENDING_REASON, WAITING
from tasks.models import ACTIVE, Task, TaskType
from tasks.saga import saga_of

COLUMNS = (
    "task_id",
    "type",
    "state",
    "host_id",
    "params",
    "reported_params",
    "progress",
    "task_status",
    "description",
    "stoppable",
    "started_at",
    "ended_at",
    "bytes_done",
    "bytes_total",
    "bytes_per_second",
    "lease_owner",
    "lease_until",
    "outputs",
)

OF_HOST = Compiled(
    lambda: (
        Task.objects.filter(host_id=text("host"))
        .order_by("task_id")
        .values_list(*COLUMNS, "tenant_id")
    )
)


def task_list(
    *, task_id: str | None = None, host_id: str | None = None, tenant_id: str | None = None
) -> list[Mapping[str, Any]]:
    """Return COLUMNS of the tasks of a host, or of one task, ordered by id. With both, the task is
    listed only if it is the host's.

    Ended tasks are listed until their retention has expired. With ``host_id``, only tasks that this
    host carries out are listed, because its agent assumes that every task in that list is its own.

    Every host sends ``GET /tasks?hostId=`` every second. So this function creates no model
    instances, the query is compiled once, and the rows are filtered in Python.
    """
    rows: Iterable[Mapping[str, Any]]
    if host_id is None:
        rows = task_rows(task_id=task_id, tenant_id=tenant_id)
    else:
        rows = _of_host(host_id, tenant_id)
    now = clock.now()
    return [
        row
        for row in rows
        if (not row["ended_at"] or row["ended_at"] > now - _kept(row["type"]))
        and (host_id is None or (task_id in {None, row["task_id"]} and _is_hosts(row)))
    ]


def _of_host(host_id: str, tenant_id: str | None) -> Iterator[Mapping[str, Any]]:
    for *row, tenant in OF_HOST.rows(host=host_id):
        if tenant_id in {None, tenant}:
            yield dict(zip(COLUMNS, row, strict=True))


def task_rows(**wanted: str | None) -> QuerySet[Task, Mapping[str, Any]]:
    """Return COLUMNS of the tasks with these values, ordered by id. None: any value."""
    given = {name: value for name, value in wanted.items() if value is not None}
    rows: QuerySet[Task, Mapping[str, Any]] = (
        Task.objects.filter(**given).order_by("task_id").values(*COLUMNS)
    )
    return rows


def task_active(*, volume_id: str) -> Task | None:
    """The active task of the volume, or None."""
    return Task.objects.filter(volume_id=volume_id, state__in=sorted(ACTIVE)).first()


class Progress(NamedTuple):
    """The progress of an active task: in percent (of the bytes, if the task copies), and the
    seconds left, if they are known.
    """

    percent: float
    seconds_left: int | None


def volumes_progress(volume_ids: Iterable[str]) -> dict[str, Progress]:
    """Return the progress of the active tasks of volumes, by the uuids of the volumes. One
    query.
    """
    rows = task_rows().filter(volume_id__in=list(volume_ids), state__in=sorted(ACTIVE))
    return {
        row["volume_id"]: Progress(_percent(row), seconds_left(row))
        for row in rows.values(*COLUMNS, "volume_id")
    }


def _percent(task: Mapping[str, Any]) -> float:
    done, total = task["bytes_done"], task["bytes_total"]
    return float(100 * done / total if total and done is not None else task["progress"])


def seconds_left(task: Mapping[str, Any]) -> int | None:
    """Return the number of seconds until a copy is done at its present rate, from COLUMNS of its
    task. None: unknown.
    """
    done, total, rate = task["bytes_done"], task["bytes_total"], task["bytes_per_second"]
    if task["state"] not in ACTIVE or not rate or done is None or total is None:
        return None
    seconds: int = math.ceil((total - done) / rate)
    return seconds


def task_pending_reason(task: Mapping[str, Any]) -> str:
    """Return what an active task waits for, from its COLUMNS. Empty: a worker runs the task, or it
    has ended.
    """
    if task["state"] not in ACTIVE:
        return ""
    if _is_hosts(task):
        return "the host"
    if task["lease_owner"] == WAITING:
        return str(task["outputs"].get(PENDING_REASON) or "its next step")
    is_held = task["lease_owner"] and task["lease_until"] > clock.now()
    return "" if is_held else "a worker"


def _is_hosts(task: Mapping[str, Any]) -> bool:
    return task_is_hosts(Task(type=task["type"], host_id=task["host_id"], params=task["params"]))


def task_is_hosts(task: Task) -> bool:
    """Whether the host of the task carries it out. Only the type, host and params of the task are
    read.
    """
    saga = saga_of(task)
    return saga is None or saga.is_hosts(task)


def shown_tasks(*, tenant_id: str | None) -> QuerySet[Task, Mapping[str, Any]]:
    """Return COLUMNS of all tasks that clients see, of one tenant or of all tenants. The list may
    have any length.
    """
    return task_rows(tenant_id=tenant_id).exclude(_retention_is_over())


def expired_tasks() -> QuerySet[Task]:
    """Return the ended tasks whose retention has expired."""
    return Task.objects.filter(_retention_is_over())


def _retention_is_over() -> Q:
    now = clock.now()
    return reduce(or_, (Q(type=kind, ended_at__lte=now - _kept(kind)) for kind in TaskType))


def _kept(kind: str) -> dt.timedelta:
    """Return how long an ended task of this type is kept."""
    environment = settings.ENVIRONMENT
    if kind == TaskType.REMOTE_MIGRATION:
        return dt.timedelta(hours=environment.migration_retention_hours)
    return dt.timedelta(minutes=environment.task_retention_minutes)
