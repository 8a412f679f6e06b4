"""Volumes."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from provisioner.common import clock
from provisioner.common.models import LifeState
from volumes.models.idempotent import IdempotentMixin
from volumes.models.tenant import Tenant


class ProvisioningType(models.TextChoices):
    """Whether a volume claims its whole capacity (THICK) or its reserved space (THIN)."""

    THICK = "THICK"
    THIN = "THIN"


class Protocol(models.TextChoices):
    """How a host reaches the volume: over the network, or locally if the node runs on the host
    itself.
    """

    NVMEOF = "NVMeoF", "NVMeoF"
    LOCAL = "Local"


RESERVING = ~Q(state=LifeState.DELETING) & (
    Q(desired_iops_per_gb__gt=0) | Q(desired_bw_per_gb__gt=0)
)
"""Volumes that reserve IOPS or bandwidth. An index has all that their sums by tenant need."""


class Volume(IdempotentMixin):
    """A volume, as a client requested it. Its :class:`~volumes.models.replica.Replica` rows say
    where it is.

    ``expanding_to_bytes``: an expansion that is claimed and not yet on all nodes; it is always
    completed, never rolled back. ``claimed_bytes``: the space that one replica claims on SSDs and
    of the budget: the capacity, or the reserved space. ``deadline_at``: when the collector may
    finish or roll back an unfinished change. ``snapshot``: set for a snapshot volume, which is
    ``writable`` or not. ``cloned_from``: the uuid of a clone's source, which may be deleted.
    ``idempotency_digest``: identifies the request that created or last expanded the volume.

    While a row is DELETING, its uuid, alias and snapshot can be used by another volume.
    """

    uuid = models.CharField(max_length=64, db_index=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="volumes")
    alias = models.CharField(max_length=255)
    capacity_bytes = models.BigIntegerField()
    expanding_to_bytes = models.BigIntegerField(null=True, blank=True)
    provisioning_type = models.CharField(max_length=8, choices=ProvisioningType.choices)
    reserved_space_percentage = models.PositiveSmallIntegerField(default=0)
    claimed_bytes = models.BigIntegerField()
    num_replicas = models.PositiveSmallIntegerField(help_text="as requested at creation")
    replicable = models.BooleanField(
        default=False,
        help_text="as requested at creation: hosts may build a RAID over its replicas",
    )
    protocol = models.CharField(max_length=8, choices=Protocol.choices)
    block_size = models.PositiveIntegerField()
    max_iops_per_gb = models.BigIntegerField(default=0)
    desired_iops_per_gb = models.BigIntegerField(default=0)
    max_bw_per_gb = models.BigIntegerField(default=0)
    desired_bw_per_gb = models.BigIntegerField(default=0)
    max_replica_down_minutes = models.PositiveIntegerField(default=0)
    allow_span = models.BooleanField(default=False)
    storage_class_name = models.CharField(max_length=255, blank=True)
    share_ssd = models.BooleanField(default=True)
    same_rack_allowed = models.BooleanField(default=False)
    racks = models.JSONField(default=list)
    zones = models.JSONField(default=list)
    regions = models.JSONField(default=list)
    host_id = models.CharField(max_length=64, blank=True)
    snapshot = models.ForeignKey(
        "volumes.Snapshot",
        on_delete=models.PROTECT,
        related_name="snapshot_volumes",
        null=True,
        blank=True,
    )
    writable = models.BooleanField(default=True)
    cloned_from = models.CharField(max_length=64, blank=True)
    state = models.CharField(max_length=8, choices=LifeState.choices, default=LifeState.CREATING)
    deadline_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering: ClassVar = ["uuid"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["uuid"], condition=~Q(state=LifeState.DELETING), name="volume_uuid_once"
            ),
            models.UniqueConstraint(
                fields=["alias", "tenant"],
                condition=~Q(state=LifeState.DELETING),
                name="volume_alias_once_per_tenant",
            ),
            models.UniqueConstraint(
                fields=["snapshot"],
                condition=~Q(state=LifeState.DELETING),
                name="one_snapshot_volume_per_snapshot",
            ),
            models.CheckConstraint(
                condition=Q(writable=True) | Q(snapshot__isnull=False),
                name="only_snapshot_volumes_are_read_only",
            ),
            models.CheckConstraint(
                condition=Q(state=LifeState.READY) | Q(deadline_at__isnull=False),
                name="volume_passing_state_has_deadline",
            ),
            models.CheckConstraint(
                condition=Q(expanding_to_bytes__isnull=True) | Q(deadline_at__isnull=False),
                name="volume_growth_has_deadline",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["deadline_at"],
                condition=Q(deadline_at__isnull=False),
                name="volume_unfinished",
            ),
            models.Index(fields=["tenant", "uuid"], name="volume_page_of_tenant"),
            models.Index(
                fields=["tenant", "capacity_bytes", "desired_iops_per_gb", "desired_bw_per_gb"],
                condition=RESERVING,
                name="volumes_that_reserve",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.alias} ({self.uuid})"
