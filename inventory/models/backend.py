"""Storage nodes, their addresses, and the controller slots of removed nodes."""

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from provisioner.common import clock


class BackendQuerySet(models.QuerySet["Backend"]):
    """Queries over storage nodes."""

    def available(self) -> "BackendQuerySet":
        """Keep the backends with a heartbeat within the last three probe intervals."""
        return self.filter(available_until__gte=clock.now())


class Backend(models.Model):
    """A storage node of the pool. Its ``persistent_id`` never changes.

    ``used_iops``, ``used_bw``: IOPS and bandwidth that its replicas claim. A node is Available
    until ``available_until``, so it becomes Unavailable without a job. While ``unanswered_since``
    is set, the node does not answer calls, and probes do not extend ``available_until``. As for
    hosts, a probe changes no column with an index.

    ``refresh_wanted_at``: when the node last reported a change or restart. If it is later than
    ``refreshed_at``, the node must be read. ``syslogs_wanted_at``: set if the syslog settings of
    the node must be read. ``checked_at``, ``checked_boot_id``: when, and in which boot, its
    volumes, snapshots and targets were last compared with the database.

    ``controller_slot``: see :mod:`inventory.services.node.controller_slots`. It is null until the
    next node check if an older version added the node. ``encrypted_token``, ``token_digest``: the
    token that a node without mutual TLS demands. Each node has its own token.
    """

    persistent_id = models.CharField(primary_key=True, max_length=64)
    name = models.CharField(max_length=255)
    mgmt_port = models.PositiveIntegerField(default=443)
    rack = models.CharField(max_length=255, null=True, blank=True)
    zone = models.CharField(max_length=255, null=True, blank=True)
    region = models.CharField(max_length=255, null=True, blank=True)
    host_id = models.CharField(max_length=64, null=True, blank=True, unique=True)
    in_use = models.BooleanField(default=True)
    version = models.CharField(max_length=64)
    target_driver_version = models.CharField(max_length=64)
    certified = models.BooleanField(default=True)
    authentication_mode = models.CharField(max_length=16)
    total_iops = models.BigIntegerField()
    used_iops = models.BigIntegerField(default=0)
    total_bw = models.BigIntegerField()
    used_bw = models.BigIntegerField(default=0)
    probe_interval = models.PositiveIntegerField(help_text="seconds")
    last_probe_at = models.DateTimeField(null=True, blank=True)
    available_until = models.DateTimeField()
    unanswered_since = models.DateTimeField(
        null=True, blank=True, help_text="time since which the node has answered no calls"
    )
    call_error = models.CharField(
        max_length=255,
        blank=True,
        default="",
        db_default="",
        help_text="error of the last call; empty: the node was read since then",
    )
    boot_id = models.CharField(max_length=64)
    expands_spans_online = models.BooleanField(
        default=False,
        db_default=False,
        help_text="the node can expand a volume on several SSDs while it is published",
    )
    enforces_limits = models.BooleanField(
        default=True,
        db_default=True,
        help_text="the node can limit IOPS and bandwidth of a volume",
    )
    refresh_wanted_at = models.DateTimeField(null=True, blank=True)
    syslogs_wanted_at = models.DateTimeField(null=True, blank=True)
    refreshed_at = models.DateTimeField(help_text="time when the node was last read")
    polled_at = models.DateTimeField(
        default=clock.now, help_text="time when the poll last chose the node"
    )
    checked_at = models.DateTimeField(null=True, blank=True)
    checked_boot_id = models.CharField(max_length=64, blank=True)
    token_expires_at = models.DateTimeField(help_text="expiry of the token for the node's probes")
    certificate_ends_at = models.DateTimeField(
        null=True, blank=True, help_text="expiry of the certificate that the node presents"
    )
    clock_ahead_seconds = models.FloatField(
        default=0,
        db_default=0,
        help_text="seconds between its clock and the database's at its last probe; below 0: behind",
    )
    controller_slot = models.PositiveSmallIntegerField(unique=True, null=True, blank=True)
    encrypted_token = models.TextField(blank=True)
    token_digest = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(default=clock.now)
    recorded_available = models.BooleanField(
        default=True, db_default=True, help_text="state in the last event about it"
    )

    objects = BackendQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["persistent_id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["token_digest"],
                condition=~Q(token_digest=""),
                name="one_backend_per_node_token",
            ),
            models.CheckConstraint(
                condition=Q(used_iops__gte=0) & Q(used_iops__lte=F("total_iops")),
                name="backend_iops_within_total",
            ),
            models.CheckConstraint(
                condition=Q(used_bw__gte=0) & Q(used_bw__lte=F("total_bw")),
                name="backend_bw_within_total",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.persistent_id})"

    @property
    def mgmt_ips(self) -> list[str]:
        """The management addresses, in the order in which they are tried."""
        return [address.address for address in self.addresses.all()]

    @property
    def rack_key(self) -> str:
        """The rack for placement. A node without a rack counts as a rack of its own."""
        return f"rack {self.rack}" if self.rack else f"node {self.persistent_id}"

    @property
    def is_available(self) -> bool:
        """Whether the node counts as Available now."""
        return self.available_until >= clock.now()


class BackendAddress(models.Model):
    """A management address of a backend. Addresses are tried in the order of ``position``. Two
    backends never have the same address.
    """

    backend = models.ForeignKey(Backend, on_delete=models.CASCADE, related_name="addresses")
    position = models.PositiveSmallIntegerField()
    address = models.CharField(max_length=255)
    port = models.PositiveIntegerField()

    class Meta:
        verbose_name_plural = "backend addresses"
        ordering: ClassVar = ["position"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["address", "port"], name="one_backend_per_management_address"
            )
        ]

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"
