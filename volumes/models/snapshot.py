"""Snapshots of volumes."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from provisioner.common import clock
from provisioner.common.models import LifeState
from volumes.models.idempotent import IdempotentMixin
from volumes.models.replica import Replica
from volumes.models.tenant import Tenant
from volumes.models.volume import Volume


class Snapshot(IdempotentMixin):
    """The content of a one-replica volume at one moment, on the SSDs of its replica.

    ``id`` never decreases and is the generation of calls to the node. ``claimed_bytes``: the
    reserved space, charged to SSDs and budget. While a row is DELETING, its uuid and alias can be
    used again.
    """

    id = models.BigAutoField(primary_key=True)
    uuid = models.CharField(max_length=64, db_index=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="snapshots")
    alias = models.CharField(max_length=255)
    volume = models.ForeignKey(Volume, on_delete=models.PROTECT, related_name="snapshots")
    replica = models.ForeignKey(Replica, on_delete=models.PROTECT, related_name="snapshots")
    capacity_bytes = models.BigIntegerField()
    reserved_space_percentage = models.PositiveSmallIntegerField(default=0)
    claimed_bytes = models.BigIntegerField()
    state = models.CharField(max_length=8, choices=LifeState.choices, default=LifeState.CREATING)
    deadline_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering: ClassVar = ["uuid"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["uuid"], condition=~Q(state=LifeState.DELETING), name="snapshot_uuid_once"
            ),
            models.UniqueConstraint(
                fields=["alias", "tenant"],
                condition=~Q(state=LifeState.DELETING),
                name="snapshot_alias_once_per_tenant",
            ),
            models.CheckConstraint(
                condition=Q(state=LifeState.READY) | Q(deadline_at__isnull=False),
                name="snapshot_passing_state_has_deadline",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["deadline_at"],
                condition=Q(deadline_at__isnull=False),
                name="snapshot_unfinished",
            ),
            models.Index(fields=["tenant", "uuid"], name="snapshot_page_of_tenant"),
        ]

    def __str__(self) -> str:
        return f"{self.alias} ({self.uuid})"
