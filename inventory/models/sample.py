"""Samples of the pool."""

from typing import ClassVar

from django.db import models

from provisioner.common import clock


class InventorySample(models.Model):
    """The backends of the pool at one moment (reference, "Get Inventory").

    ``backends``: a list with hardwareId, version, state and numSSDs, ordered by hardwareId, as
    clients see it. ``capacity_bytes``, ``used_bytes``: the sums of all present drives; null in
    samples of older versions.
    """

    taken_at = models.DateTimeField(default=clock.now)
    backends = models.JSONField()
    capacity_bytes = models.BigIntegerField(null=True, blank=True)
    used_bytes = models.BigIntegerField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{len(self.backends)} backends at {self.taken_at:%Y-%m-%d %H:%M:%S}"
