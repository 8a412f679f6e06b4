"""The hosts that use volumes."""

from typing import ClassVar

from django.db import models

from inventory.models.liveness import Liveness
from provisioner.common import clock

DRIVER_VERSION = "cinder-driver"
"""How the version in probes of the Cinder driver starts. The driver reports for hosts and is not an
agent.
"""


class ClientType(models.TextChoices):
    """The type that a client reports. It does not show whether the host has an agent: KIOXIA's
    agent sends ``Openstack``, and the Cinder driver sends ``Agent``.
    """

    KUBERNETES = "Kubernetes"
    AGENT = "Agent"
    OPENSTACK = "Openstack"


class Host(models.Model):
    """An initiator. Its first ``POST /host_probe`` creates the row.

    ``nqn`` is unique, because targets admit hosts by their NQN: two hosts with the same NQN would
    have access to each other's volumes. ``used_namespace_ids``: NVMe namespace ids that the host
    reports as used. ``tenant_id``: the only tenant whose volumes may be published to the host;
    empty: any tenant.

    ``available_until``: three probe intervals after its last probe. ``agent_until``: the same after
    the last probe of an agent on the host. ``probed_by_driver``: the last probe came from a driver
    on another machine.

    A probe changes no column with an index, so that PostgreSQL writes only the row: see migration
    0023.
    """

    uuid = models.CharField(primary_key=True, max_length=64)
    name = models.CharField(max_length=255, db_index=True)
    nqn = models.CharField(max_length=223, unique=True)
    client_type = models.CharField(max_length=16, choices=ClientType.choices)
    version = models.CharField(max_length=64)
    duration = models.PositiveIntegerField(help_text="seconds between probes")
    multipath = models.BooleanField(default=False)
    used_namespace_ids = models.JSONField(default=list, blank=True)
    last_probe_at = models.DateTimeField()
    available_until = models.DateTimeField()
    agent_until = models.DateTimeField(null=True, blank=True)
    probed_by_driver = models.BooleanField(default=False)
    tenant_id = models.CharField(max_length=64, blank=True, default="")
    recorded_available = models.BooleanField(
        default=True, db_default=True, help_text="state in the last event about it"
    )

    class Meta:
        ordering: ClassVar = ["uuid"]

    def __str__(self) -> str:
        return f"{self.name} ({self.uuid})"

    @property
    def is_available(self) -> bool:
        """Whether the host counts as Available now."""
        return self.available_until >= clock.now()

    @property
    def has_agent(self) -> bool:
        """Whether software on the host adds, rebuilds and removes replicas by itself."""
        return self.agent_until is not None and self.agent_until >= clock.now()

    @property
    def state(self) -> Liveness:
        """The state that clients see."""
        return Liveness.AVAILABLE if self.is_available else Liveness.UNAVAILABLE
