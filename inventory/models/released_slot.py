"""Slots of controller ids that no node of the pool has."""

from typing import ClassVar

from django.db import models

from provisioner.common import clock


class ReleasedSlot(models.Model):
    """The ``controller_slot`` of a removed node. The node gets it again if it is added again. Other
    nodes get it only if no unused slot is left.
    """

    persistent_id = models.CharField(primary_key=True, max_length=64)
    controller_slot = models.PositiveSmallIntegerField(unique=True)
    released_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering: ClassVar = ["released_at"]

    def __str__(self) -> str:
        return f"{self.controller_slot} of {self.persistent_id}"
