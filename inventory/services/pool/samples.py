"""The inventory: samples of the pool, taken by tasks."""

import uuid

from django.db.models import Sum

from inventory.models import Backend, InventorySample, Ssd
from inventory.sample_selectors import SAMPLES_SHOWN, Entry
from provisioner.common import clock
from provisioner.common.results import ProvisionerError, ResultCode
from tasks.models import ACTIVE, Task, TaskType
from tasks.services import task_create
from tasks.submission import task_wait

ANSWER_SECONDS = 10.0


class NoNodeAnswers(ProvisionerError):
    """The pool has backends, but none can be reached."""

    code = ResultCode.CommunicationError


def inventory_fetch() -> str:
    """Start to take a sample, unless one is being taken. Returns the id of the task.

    If there is no sample yet, wait for it, at most ANSWER_SECONDS.
    """
    task_id = _sampling(TaskType.FETCH_INVENTORY)
    if not InventorySample.objects.exists():
        task_wait(task_id=task_id, seconds=ANSWER_SECONDS)
    return task_id


def inventory_update() -> None:
    """Take the periodic sample, unless the previous one is still being taken."""
    _sampling(TaskType.UPDATE_INVENTORY)


def inventory_reset() -> str:
    """Delete all samples and read every node again. Returns the id of the task.

    :raises TaskFailed: CommunicationError, if the task fails within ANSWER_SECONDS.
    """
    task_id = task_create(type=TaskType.RESET_INVENTORY).pk
    task_wait(task_id=task_id, seconds=ANSWER_SECONDS)
    return task_id


def task_number(task_id: str) -> int:
    """Return the integer that "Reset Inventory" returns as ``id``: 31 bits of the uuid of the
    task.
    """
    return uuid.UUID(task_id).int >> 97


def sample_add(backends: list[Entry]) -> None:
    """Store a sample with the capacity of the pool, in the last transaction of the task. One sample
    more than shown is kept, so that the changes of the oldest shown sample can be computed.
    """
    drives = Ssd.objects.filter(present=True).aggregate(
        capacity_bytes=Sum("capacity_bytes", default=0), used_bytes=Sum("used_bytes", default=0)
    )
    InventorySample.objects.create(backends=backends, **drives)
    newest = InventorySample.objects.order_by("-pk").values_list("pk", flat=True)
    kept = list(newest[: SAMPLES_SHOWN + 1])
    InventorySample.objects.filter(pk__lt=kept[-1]).delete()


def samples_reset() -> None:
    """Delete all samples in the last transaction of the task. The poll then reads all nodes
    again.
    """
    InventorySample.objects.all().delete()
    backends = list(Backend.objects.select_for_update().order_by("pk"))
    Backend.objects.filter(pk__in=[backend.pk for backend in backends]).update(
        refresh_wanted_at=clock.now()
    )


def _sampling(kind: TaskType) -> str:
    under_way = Task.objects.filter(type=kind, state__in=sorted(ACTIVE)).order_by("created_at")
    task = under_way.first() or task_create(type=kind)
    return task.pk
