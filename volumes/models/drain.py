"""A drain of a node."""

from typing import ClassVar

from django.db import models

from inventory.models import Backend
from provisioner.common import clock


class Drain(models.Model):
    """The drain of a node. The node stays cordoned during the drain.

    ``was_in_use``: the value that ``in_use`` of the node gets when the drain is stopped.
    ``replicas_before``: the number of replicas on the node when the drain began. ``finished_at``:
    when the node had no replica left; null until then.
    """

    backend = models.OneToOneField(
        Backend, on_delete=models.CASCADE, primary_key=True, related_name="drain"
    )
    was_in_use = models.BooleanField()
    replicas_before = models.PositiveIntegerField()
    started_at = models.DateTimeField(default=clock.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["backend"]

    def __str__(self) -> str:
        return f"of {self.backend_id}"
