from typing import ClassVar

from django.db import models
from django.utils import timezone

from inventory.models import Backend


class Drain(models.Model):
    """A node is being emptied. ``refusals``: by the uuid of a replica, why it cannot be moved, as
    found at ``checked_at``.

    ``was_in_use``: what the node goes back to when the drain is stopped.
    """

    backend = models.OneToOneField(
        Backend, on_delete=models.CASCADE, primary_key=True, related_name="drain"
    )
    was_in_use = models.BooleanField()
    refusals = models.JSONField(default=dict)
    started_at = models.DateTimeField(default=timezone.now)
    checked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["backend"]

    def __str__(self) -> str:
        return f"of {self.backend_id}"
