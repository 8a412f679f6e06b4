import datetime as dt
from typing import ClassVar

from django.db import models
from django.utils import timezone

LATE_FACTOR = 3


class ClientType(models.TextChoices):
    """What speaks for a host (contract, section 7)."""

    KUBERNETES = "Kubernetes"
    AGENT = "Agent"
    OPENSTACK = "Openstack"


class Host(models.Model):
    """An initiator, known by its first ``POST /host_probe``.

    ``used_namespace_ids``: NVMe namespace ids the host says it uses already.
    """

    uuid = models.CharField(primary_key=True, max_length=64)
    name = models.CharField(max_length=255, db_index=True)
    nqn = models.CharField(max_length=223)
    client_type = models.CharField(max_length=16, choices=ClientType.choices)
    version = models.CharField(max_length=64)
    duration = models.PositiveIntegerField(help_text="seconds between probes")
    multipath = models.BooleanField(default=False)
    used_namespace_ids = models.JSONField(default=list)
    last_probe_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["uuid"]

    def __str__(self) -> str:
        return f"{self.name} ({self.uuid})"

    @property
    def is_available(self) -> bool:
        """Unavailable after three probe durations of silence."""
        silence = timezone.now() - self.last_probe_at
        return silence <= dt.timedelta(seconds=LATE_FACTOR * self.duration)
