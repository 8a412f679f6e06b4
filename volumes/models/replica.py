from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from inventory.models import Backend, Ssd
from provisioner.common.models import LifeState
from volumes.models.volume import Volume


class ReplicaState(models.TextChoices):
    """What hosts report of a replica (contract, section 6)."""

    UNKNOWN = "Unknown"
    AVAILABLE = "Available"
    SYNCHRONIZING = "Synchronizing"
    MISSING = "Missing"
    TERMINATING = "Terminating"


class Replica(models.Model):
    """One copy of a volume, on one backend; its uuid is the namespace UUID that hosts see.

    ``id`` only ever grows and is the generation of all that is asked of the node for this replica.
    ``backend`` is null after a forced removal of the node.
    """

    id = models.BigAutoField(primary_key=True)
    uuid = models.CharField(max_length=64, db_index=True)
    volume = models.ForeignKey(Volume, on_delete=models.PROTECT, related_name="replicas")
    backend = models.ForeignKey(
        Backend, on_delete=models.PROTECT, related_name="replicas", null=True, blank=True
    )
    replica_state = models.CharField(
        max_length=16, choices=ReplicaState.choices, default=ReplicaState.UNKNOWN
    )
    replica_state_since = models.DateTimeField(default=timezone.now)
    claimed_bytes = models.BigIntegerField(help_text="of the tenant's budget")
    desired_iops = models.BigIntegerField(default=0, help_text="claimed on the backend")
    desired_bw = models.BigIntegerField(default=0, help_text="claimed on the backend")
    state = models.CharField(max_length=8, choices=LifeState.choices, default=LifeState.CREATING)
    deadline_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["uuid"], condition=~Q(state=LifeState.DELETING), name="replica_uuid_once"
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
            models.Index(
                fields=["deadline_at"],
                condition=Q(deadline_at__isnull=False),
                name="replica_unfinished",
            )
        ]

    def __str__(self) -> str:
        return f"{self.uuid} on {self.backend_id}"


class SubVolume(models.Model):
    """The part of a replica that lies on one SSD.

    ``claimed_bytes`` is what it takes from the SSD. ``exclusive_class`` holds the storage class
    name where the volume must not share an SSD with another of its class: two of those cannot meet.
    """

    replica = models.ForeignKey(Replica, on_delete=models.CASCADE, related_name="sub_volumes")
    ssd = models.ForeignKey(Ssd, on_delete=models.PROTECT, related_name="sub_volumes")
    capacity_bytes = models.BigIntegerField()
    claimed_bytes = models.BigIntegerField()
    storage_class_name = models.CharField(max_length=255, blank=True)
    exclusive_class = models.CharField(max_length=255, null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["replica", "ssd"], name="one_piece_per_ssd"),
            models.UniqueConstraint(
                fields=["ssd", "exclusive_class"], name="exclusive_class_once_per_ssd"
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["storage_class_name", "ssd"],
                condition=~Q(storage_class_name=""),
                name="class_on_ssd",
            )
        ]

    def __str__(self) -> str:
        return f"{self.capacity_bytes} bytes on {self.ssd_id}"
