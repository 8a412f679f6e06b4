"""Parts of replicas and snapshots on SSDs."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from inventory.models import Ssd
from volumes.models.replica import Replica
from volumes.models.snapshot import Snapshot


class SubVolume(models.Model):
    """The part of a replica or snapshot that is on one SSD.

    ``claimed_bytes``: the space that it claims on the SSD. ``exclusive_class``: the storage class
    name, if the volume may not share an SSD with another volume of its class, which a constraint
    enforces.
    """

    replica = models.ForeignKey(
        Replica, on_delete=models.CASCADE, related_name="sub_volumes", null=True, blank=True
    )
    snapshot = models.ForeignKey(
        Snapshot, on_delete=models.CASCADE, related_name="sub_volumes", null=True, blank=True
    )
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
                fields=["snapshot", "ssd"], name="one_piece_of_snapshot_per_ssd"
            ),
            models.CheckConstraint(
                condition=Q(replica__isnull=True) ^ Q(snapshot__isnull=True),
                name="piece_of_replica_or_snapshot",
            ),
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
