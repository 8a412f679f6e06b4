"""Samples of the pool."""

from typing import ClassVar

from django.db import models

from provisioner.common import clock


class InventorySample(models.Model):
    """The backends of the pool at one moment (reference, "Get Inventory").

    ``backends``: a list with hardwareId, version, state and numSSDs, ordered by hardwareId, as on
    the wire.
    """

    taken_at = models.DateTimeField(default=clock.now)
    backends = models.JSONField()

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{len(self.backends)} backends at {self.taken_at:%Y-%m-%d %H:%M:%S}"
