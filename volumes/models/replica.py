"""Replicas of volumes."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from inventory.models import Backend
from provisioner.common import clock
from provisioner.common.models import LifeState
from volumes.models.volume import Volume


class ReplicaState(models.TextChoices):
    """The state of the data of a replica, according to hosts and nodes (reference, "Set Replica
    State").
    """

    UNKNOWN = "Unknown"
    AVAILABLE = "Available"
    SYNCHRONIZING = "Synchronizing"
    MISSING = "Missing"
    TERMINATING = "Terminating"


class Replica(models.Model):
    """One complete copy of a volume, on one backend. Its uuid is the namespace UUID that hosts see.

    ``id`` never decreases and is the generation of calls to the node. ``backend`` is null after a
    forced removal of the node. ``source``: the object that the node created the replica from, in
    the form of the node API; null: the replica was created empty.

    ``rebuilding``: the copy into the replica has not ended, so no host may use it. In a one-replica
    volume it has the uuid of the volume, like the replica that it will replace.
    ``created_by_task``: the task that added the replica, and removes it again if the task fails.
    The value has no meaning after the task has ended.
    """

    id = models.BigAutoField(primary_key=True)
    uuid = models.CharField(max_length=64, db_index=True)
    volume = models.ForeignKey(Volume, on_delete=models.PROTECT, related_name="replicas")
    backend = models.ForeignKey(
        Backend,
        on_delete=models.PROTECT,
        related_name="replicas",
        null=True,
        blank=True,
        db_index=False,  # replicas_of_backend
    )
    replica_state = models.CharField(
        max_length=16, choices=ReplicaState.choices, default=ReplicaState.UNKNOWN
    )
    replica_state_since = models.DateTimeField(default=clock.now)
    claimed_bytes = models.BigIntegerField(help_text="bytes claimed in the tenant's budget")
    source = models.JSONField(null=True, blank=True)
    desired_iops = models.BigIntegerField(default=0, help_text="claimed on the backend")
    desired_bw = models.BigIntegerField(default=0, help_text="claimed on the backend")
    rebuilding = models.BooleanField(default=False)
    created_by_task = models.CharField(max_length=64, blank=True, db_index=True)
    state = models.CharField(max_length=8, choices=LifeState.choices, default=LifeState.CREATING)
    deadline_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["uuid"],
                condition=~Q(state=LifeState.DELETING) & Q(rebuilding=False),
                name="replica_uuid_once",
            ),
            models.UniqueConstraint(
                fields=["volume"],
                condition=~Q(state=LifeState.DELETING) & Q(rebuilding=True),
                name="one_replica_fills_at_once",
            ),
            models.UniqueConstraint(
                fields=["volume", "backend"],
                condition=~Q(state=LifeState.DELETING),
                name="one_replica_per_node",
            ),
            models.CheckConstraint(
                condition=Q(state=LifeState.READY) | Q(deadline_at__isnull=False),
                name="replica_passing_state_has_deadline",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["backend", "state"], name="replicas_of_backend"),
            models.Index(
                fields=["deadline_at"],
                condition=Q(deadline_at__isnull=False),
                name="replica_unfinished",
            ),
            models.Index(
                fields=["replica_state_since"],
                condition=Q(replica_state=ReplicaState.MISSING),
                name="replica_missing",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.uuid} on {self.backend_id}"
