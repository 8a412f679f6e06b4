"""Reading tasks."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from tasks.models import ACTIVE, Task, TaskType

COLUMNS = (
    "task_id",
    "type",
    "state",
    "host_id",
    "params",
    "progress",
    "task_status",
    "description",
    "stoppable",
    "started_at",
    "ended_at",
)


def task_list(
    *, task_id: str | None = None, host_id: str | None = None, tenant_id: str | None = None
) -> QuerySet[Task, Mapping[str, Any]]:
    """COLUMNS of the tasks that clients see, by id: ended ones until their retention is over.

    ``GET /tasks?hostId=`` comes from every host every second, so there are no model instances.
    """
    wanted = {"task_id": task_id, "host_id": host_id, "tenant_id": tenant_id}
    given = {name: value for name, value in wanted.items() if value is not None}
    rows: QuerySet[Task] = Task.objects.filter(**given)
    tasks: QuerySet[Task, Mapping[str, Any]]
    tasks = rows.exclude(_expired()).order_by("task_id").values(*COLUMNS)
    return tasks


def migration_active(*, volume_id: str) -> dict[str, str]:
    """What the volume's migration, if one has not ended, was configured with; else empty."""
    rows = Task.objects.filter(type=TaskType.REMOTE_MIGRATION, volume_id=volume_id)
    task = rows.filter(state__in=sorted(ACTIVE)).first()
    return {tag["name"]: tag["value"] for tag in task.params} if task else {}


def expired_tasks() -> QuerySet[Task]:
    """Those that ended longer ago than they are kept."""
    return Task.objects.filter(_expired())


def _expired() -> Q:
    environment = settings.ENVIRONMENT
    now = timezone.now()
    short = dt.timedelta(minutes=environment.task_retention_minutes)
    long = dt.timedelta(hours=environment.migration_retention_hours)
    migration = Q(type=TaskType.REMOTE_MIGRATION)
    return (~migration & Q(ended_at__lte=now - short)) | (migration & Q(ended_at__lte=now - long))
