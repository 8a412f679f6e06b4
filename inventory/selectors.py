"""Reads the pool from the database."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum

from inventory.health import NodeHealth, node_health, node_health_reason
from inventory.models import (
    Backend,
    Host,
    License,
    Ssd,
    SyslogServer,
    SyslogSource,
)
from provisioner.common.models import LifeState
from provisioner.common.parsing import INT64_MAX


@dataclass(frozen=True)
class BackendSummary:
    """A backend with the sums of its present drives in bytes."""

    backend: Backend
    health: NodeHealth
    health_reason: str
    capacity_bytes: int
    free_bytes: int
    ssds: int
    volumes: int


def backend_list(
    *, persistent_id: str | None = None, health: str | None = None
) -> list[BackendSummary]:
    """Backends ordered by id: all, or the one with ``persistent_id``, or those with this
    NodeHealth. The number of queries, five, does not depend on the number of backends.
    """
    backends: QuerySet[Any] = Backend.objects.annotate(
        health=node_health(), drained_since=F("drain__started_at")
    )
    if persistent_id is not None:
        backends = backends.filter(pk=persistent_id)
    if health is not None:
        backends = backends.filter(health=health)
    volumes = _volumes(persistent_id)
    drives = _drives(persistent_id)
    return [
        BackendSummary(
            backend,
            (state := NodeHealth(backend.health)),
            node_health_reason(backend, state, backend.drained_since),
            *drives.get(backend.pk, (0, 0, 0)),
            volumes.get(backend.pk, 0),
        )
        for backend in backends.prefetch_related("addresses", "portals")
    ]


def _volumes(persistent_id: str | None) -> dict[str, int]:
    """Return the number of READY replicas of each backend. An index contains all that the query
    needs. A query that joins the backends would take four times as long.
    """
    replicas: Any = Backend._meta.get_field("replicas").related_model
    rows = replicas.objects.filter(state=LifeState.READY).order_by()
    if persistent_id is not None:
        rows = rows.filter(backend_id=persistent_id)
    return dict(rows.values_list("backend_id").annotate(number=Count("*")))


def _drives(persistent_id: str | None) -> dict[str, tuple[int, int, int]]:
    """Return the capacity, the free bytes and the number of drives of each backend."""
    ssds = Ssd.objects.filter(present=True).order_by()
    if persistent_id is not None:
        ssds = ssds.filter(backend_id=persistent_id)
    sums = ssds.values_list("backend_id").annotate(
        Sum("capacity_bytes"), Sum("used_bytes"), Count("pk")
    )
    return {
        backend_id: (capacity, capacity - used, count) for backend_id, capacity, used, count in sums
    }


def pool_free_bytes() -> int:
    """Return the number of free bytes on all Available backends."""
    drives = Ssd.objects.filter(present=True, backend__in=Backend.objects.available())
    free: int | None = drives.aggregate(free=Sum(F("capacity_bytes") - F("used_bytes")))["free"]
    return min(free or 0, INT64_MAX)


def host_list(*, name: str | None = None, tenant_id: str | None = None) -> QuerySet[Host]:
    """Return all hosts, the hosts with this name, or the hosts that may have volumes of this
    tenant.
    """
    rows = Host.objects.all() if name is None else Host.objects.filter(name=name)
    return rows if tenant_id is None else rows.filter(tenant_id__in=("", tenant_id))


def host_is_named(host_id: str, name: str) -> bool:
    """Whether ``name`` is the id, the NQN or (case-insensitively) the name of the host. The agent
    of release 3.22 uses its NQN.
    """
    if name == host_id:
        return True
    names = Q(name__iexact=name) | Q(nqn=name)
    return Host.objects.filter(names, pk=host_id).exists()


def syslog_server_list() -> QuerySet[SyslogServer]:
    """The syslog servers of the pool."""
    return SyslogServer.objects.all()


def syslog_source_id() -> str | None:
    """Return the persistentID of the backend whose syslog settings the pool uses. None: there is
    none.
    """
    return SyslogSource.objects.values_list("backend_id", flat=True).first()


def license_current() -> License:
    """Return the installed licence."""
    return License.objects.get()
