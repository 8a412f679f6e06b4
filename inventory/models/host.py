from typing import ClassVar

from django.db import models

from inventory.models.liveness import Liveness
from provisioner.common import clock

DRIVER_VERSION = "cinder-driver"
"""How the version in the probes of Cinder's driver begins: it speaks for hosts, and is no agent."""


class ClientType(models.TextChoices):
    """What a client says it is. It does not say whether the host has an agent: KIOXIA's agent
    sends ``Openstack``, Cinder's driver ``Agent``.
    """

    KUBERNETES = "Kubernetes"
    AGENT = "Agent"
    OPENSTACK = "Openstack"


class Host(models.Model):
    """An initiator, known by its first ``POST /host_probe``.

    ``nqn`` is unique: targets let hosts in by it, so two hosts with one would reach each other's
    volumes. ``used_namespace_ids``: NVMe namespace ids the host says it uses already.
    ``tenant_id``: the one tenant whose volumes it may have; empty: it serves all.
    ``available_until``: three probe durations after its last probe. ``agent_until``: the same after
    the last probe that came from an agent on the host, and not from a driver elsewhere;
    ``probed_by_driver``: the last probe of all came from a driver.
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
    available_until = models.DateTimeField(db_index=True)
    agent_until = models.DateTimeField(null=True, blank=True, db_index=True)
    probed_by_driver = models.BooleanField(default=False)
    tenant_id = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        ordering: ClassVar = ["uuid"]

    def __str__(self) -> str:
        return f"{self.name} ({self.uuid})"

    @property
    def is_available(self) -> bool:
        return self.available_until >= clock.now()

    @property
    def has_agent(self) -> bool:
        """Whether software on the host adds, fills and removes replicas by itself."""
        return self.agent_until is not None and self.agent_until >= clock.now()

    @property
    def state(self) -> Liveness:
        return Liveness.AVAILABLE if self.is_available else Liveness.UNAVAILABLE
