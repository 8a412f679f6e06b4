"""Tasks: rows for long operations. The row has the state of the task. Celery only transports its
id.
"""

import uuid
from typing import ClassVar

from django.db import models

from provisioner.common import clock


def new_uuid() -> str:
    return str(uuid.uuid4())


class TaskType(models.TextChoices):
    """The types in the reference, "Get Tasks", and additional ones: ``ReplicaSync``, and
    ``ConnectVolume`` and ``DisconnectVolume``, which the host agent of release 3.22 carries out.
    """

    REMOTE_MIGRATION = "RemoteMigration"
    INSTALL_LICENSE = "InstallLicense"
    UPDATE_INVENTORY = "UpdateInventory"
    FETCH_INVENTORY = "FetchInventory"
    RESET_INVENTORY = "ResetInventory"
    REPLICA_SYNC = "ReplicaSync"
    CONNECT_VOLUME = "ConnectVolume"
    DISCONNECT_VOLUME = "DisconnectVolume"


class TaskState(models.TextChoices):
    IDLE = "IDLE"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    ABORTED = "ABORTED"


TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    TaskState.IDLE: frozenset(
        {TaskState.RUNNING, TaskState.FINISHED, TaskState.FAILED, TaskState.ABORTED}
    ),
    TaskState.RUNNING: frozenset({TaskState.FINISHED, TaskState.FAILED, TaskState.ABORTED}),
    TaskState.FINISHED: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.ABORTED: frozenset(),
}
"""The only table of state changes. An ended task never changes its state."""

ENDED = frozenset(state for state, moves in TRANSITIONS.items() if not moves)
ACTIVE = frozenset(TRANSITIONS) - ENDED


class Task(models.Model):
    """A task: a long operation, which clients see in ``GET /tasks``.

    ``task_status`` and ``description``: the outcome, as the worker or host reported it.
    ``lease_until``: until then, only ``lease_owner`` works on the task; then any worker may take
    it. ``attempts``: the number of runs since a step was last done or began to wait, so that a task
    that kills its workers is not tried forever. ``last_activity_at``: the last report of the host
    that carries out the task. ``reported_params``: the ``params`` as that host reported them, which
    are only shown; null: it reported none. ``bytes_*``: the progress of a copy between nodes; null
    if there is none.
    """

    task_id = models.CharField(primary_key=True, max_length=64, default=new_uuid)
    type = models.CharField(max_length=32, choices=TaskType.choices)
    state = models.CharField(max_length=16, choices=TaskState.choices, default=TaskState.IDLE)
    host_id = models.CharField(max_length=64, blank=True)
    volume_id = models.CharField(max_length=64, blank=True)
    tenant_id = models.CharField(max_length=64, blank=True)
    params = models.JSONField(default=list, help_text="taskConfiguration: a list of name and value")
    reported_params = models.JSONField(null=True, blank=True)
    outputs = models.JSONField(default=dict)
    steps_done = models.PositiveIntegerField(default=0)
    progress = models.FloatField(default=0.0, help_text="percent, never decreasing")
    task_status = models.CharField(max_length=255, blank=True)
    description = models.TextField(blank=True)
    stoppable = models.BooleanField(default=False)
    bytes_done = models.BigIntegerField(null=True, blank=True)
    bytes_total = models.BigIntegerField(null=True, blank=True)
    bytes_per_second = models.BigIntegerField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    last_activity_at = models.DateTimeField(null=True, blank=True)
    lease_owner = models.CharField(max_length=255, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["task_id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["volume_id"],
                condition=models.Q(state__in=sorted(ACTIVE)) & ~models.Q(volume_id=""),
                name="one_active_task_per_volume",
            ),
            models.CheckConstraint(
                condition=models.Q(progress__gte=0) & models.Q(progress__lte=100),
                name="task_progress_is_percent",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=sorted(ACTIVE)) ^ models.Q(ended_at__isnull=False),
                name="ended_task_has_end",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["host_id", "task_id"], name="tasks_of_host"),
            models.Index(
                fields=["host_id"], condition=~models.Q(host_id=""), name="task_busy_hosts"
            ),
            models.Index(
                fields=["lease_until"],
                condition=models.Q(state__in=sorted(ACTIVE)),
                name="task_leases",
            ),
            models.Index(
                fields=["ended_at"], condition=models.Q(ended_at__isnull=False), name="task_ended"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.task_id}"


class JobRun(models.Model):
    """The latest run of a periodic job on any worker.

    ``job`` is the name of the Celery task. ``succeeded_at`` starts as the time of the first run.
    """

    job = models.CharField(primary_key=True, max_length=255)
    began_at = models.DateTimeField(default=clock.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    succeeded_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering: ClassVar = ["job"]

    def __str__(self) -> str:
        return self.job
