"""The drives of storage nodes."""

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from inventory.models.backend import Backend


class Ssd(models.Model):
    """A drive of a backend.

    ``used_bytes``: the claimed space, at most the capacity. ``present``: False if the node no
    longer reports the drive, but replicas are still on it. ``block_size``: the only block size that
    its volumes can have; null: any.
    """

    backend = models.ForeignKey(Backend, on_delete=models.CASCADE, related_name="ssds")
    ssd_id = models.CharField(max_length=255)
    name = models.CharField(max_length=255)
    capacity_bytes = models.BigIntegerField()
    used_bytes = models.BigIntegerField(default=0)
    present = models.BooleanField(default=True)
    block_size = models.PositiveIntegerField(null=True, blank=True, help_text="null: any")

    class Meta:
        verbose_name = "SSD"
        verbose_name_plural = "SSDs"
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["backend", "ssd_id"], name="ssd_once_per_backend"),
            models.CheckConstraint(
                condition=Q(used_bytes__gte=0) & Q(used_bytes__lte=F("capacity_bytes")),
                name="ssd_used_within_capacity",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.ssd_id} of {self.backend_id}"
