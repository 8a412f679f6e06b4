from typing import ClassVar

from django.db import models

from inventory.models import Backend
from provisioner.common import clock


class Drain(models.Model):
    """A node is being emptied; it is cordoned meanwhile.

    ``was_in_use``: what the node goes back to when the drain is stopped. ``replicas_before``: how
    many replicas were on it when it began.
    """

    backend = models.OneToOneField(
        Backend, on_delete=models.CASCADE, primary_key=True, related_name="drain"
    )
    was_in_use = models.BooleanField()
    replicas_before = models.PositiveIntegerField()
    started_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering: ClassVar = ["backend"]

    def __str__(self) -> str:
        return f"of {self.backend_id}"
