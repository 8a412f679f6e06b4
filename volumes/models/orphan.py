"""Objects on nodes without a row."""

from typing import ClassVar

from django.db import models

from inventory.models import Backend
from provisioner.common import clock


class OrphanKind(models.TextChoices):
    """The kind of an orphaned object."""

    VOLUME = "volume"
    SNAPSHOT = "snapshot"
    NAMESPACE = "namespace"


class Orphan(models.Model):
    """An object on a node that has no row.

    It is removed after a grace period, unless it is ``kept`` until an operator decides. The
    ``uuid`` of a namespace is that of its volume; only a namespace has a ``target_nqn``. ``pool``,
    ``tenant_id``, ``volume_uuid`` and ``alias`` come from its owner record.
    """

    backend = models.ForeignKey(Backend, on_delete=models.CASCADE, related_name="orphans")
    kind = models.CharField(max_length=16, choices=OrphanKind.choices)
    uuid = models.CharField(max_length=64)
    target_nqn = models.CharField(max_length=223, blank=True)
    generation = models.BigIntegerField()
    size_bytes = models.BigIntegerField(default=0)
    pool = models.CharField(max_length=64, blank=True, default="", db_default="")
    tenant_id = models.CharField(max_length=255, blank=True, default="", db_default="")
    volume_uuid = models.CharField(max_length=64, blank=True, default="", db_default="")
    alias = models.CharField(max_length=255, blank=True, default="", db_default="")
    kept = models.BooleanField(default=False, db_default=False)
    first_seen_at = models.DateTimeField(default=clock.now)
    last_seen_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering: ClassVar = ["backend", "kind", "uuid"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["backend", "kind", "uuid", "target_nqn", "generation"],
                name="orphan_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.uuid} on {self.backend_id}"
