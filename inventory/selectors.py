"""Reads the pool."""

from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum

from inventory.health import node_health, node_health_reason, node_pending_reason
from inventory.models import (
    Backend,
    BackendAddress,
    Host,
    License,
    Portal,
    Ssd,
    SyslogServer,
    SyslogSource,
)
from inventory.read_models import BackendRow, BackendSummary, PortalRow
from provisioner.common import clock
from provisioner.common.models import LifeState
from provisioner.common.parsing import INT64_MAX

HEALTH_COLUMNS = ("health", "drain__started_at")


def backend_list(
    *, persistent_id: str | None = None, health: str | None = None
) -> list[BackendSummary]:
    """Backends ordered by id: all, or the one with ``persistent_id``, or those with this
    NodeHealth. The number of queries, five, does not depend on the number of backends.
    """
    now = clock.now()
    backends: QuerySet[Any] = _those_of(Backend.objects.all(), "persistent_id", persistent_id)
    rows = backends.annotate(health=node_health(now))
    if health is not None:
        rows = rows.filter(health=health)
    volumes, drives = _volumes(persistent_id), _drives(persistent_id)
    addresses, portals = _addresses(persistent_id), _portals(persistent_id)
    found = []
    for *columns, state, drained_since in rows.values_list(*BackendRow._fields, *HEALTH_COLUMNS):
        backend = BackendRow._make(columns)
        key = backend.persistent_id
        found.append(
            BackendSummary(
                backend,
                addresses.get(key, []),
                portals.get(key, []),
                backend.available_until >= now,
                node_pending_reason(backend, now),
                state,
                node_health_reason(backend, state, drained_since, now),
                *drives.get(key, (0, 0, 0)),
                volumes.get(key, 0),
            )
        )
    return found


def _those_of(rows: QuerySet[Any], column: str, persistent_id: str | None) -> QuerySet[Any]:
    """The rows of one backend; None: of all."""
    return rows if persistent_id is None else rows.filter(**{column: persistent_id})


def _addresses(persistent_id: str | None) -> dict[str, list[str]]:
    """The management addresses, in the order in which they are tried, by backend."""
    rows = _those_of(BackendAddress.objects.order_by("position"), "backend", persistent_id)
    found: dict[str, list[str]] = {}
    for backend_id, address in rows.values_list("backend_id", "address"):
        found.setdefault(backend_id, []).append(address)
    return found


def _portals(persistent_id: str | None) -> dict[str, list[PortalRow]]:
    """The portals, by backend."""
    rows = _those_of(Portal.objects.order_by("id"), "backend", persistent_id)
    found: dict[str, list[PortalRow]] = {}
    for backend_id, *portal in rows.values_list("backend_id", *PortalRow._fields):
        found.setdefault(backend_id, []).append(PortalRow._make(portal))
    return found


def _volumes(persistent_id: str | None) -> dict[str, int]:
    """Number of replicas that are READY, by backend. An index has all that the query needs: joined
    with the backends, it would take four times as long.
    """
    replicas: Any = Backend._meta.get_field("replicas").related_model
    rows = replicas.objects.filter(state=LifeState.READY).order_by()
    rows = _those_of(rows, "backend", persistent_id)
    return dict(rows.values_list("backend_id").annotate(number=Count("*")))


def _drives(persistent_id: str | None) -> dict[str, tuple[int, int, int]]:
    """Capacity, free bytes and number of drives, by backend."""
    ssds = _those_of(Ssd.objects.filter(present=True).order_by(), "backend", persistent_id)
    sums = ssds.values_list("backend_id").annotate(
        Sum("capacity_bytes"), Sum("used_bytes"), Count("pk")
    )
    return {
        backend_id: (capacity, capacity - used, count) for backend_id, capacity, used, count in sums
    }


def ssd_numbers() -> dict[str, int]:
    """The number of present drives, by backend that has any."""
    return {backend_id: number for backend_id, (_, _, number) in _drives(None).items()}


def pool_free_bytes() -> int:
    """The free bytes of all Available backends."""
    drives = Ssd.objects.filter(present=True, backend__in=Backend.objects.available())
    free: int | None = drives.aggregate(free=Sum(F("capacity_bytes") - F("used_bytes")))["free"]
    return min(free or 0, INT64_MAX)


def host_list(*, name: str | None = None, tenant_id: str | None = None) -> QuerySet[Host]:
    """All hosts, or those with that name, or those that may have volumes of that tenant."""
    rows = Host.objects.all() if name is None else Host.objects.filter(name=name)
    return rows if tenant_id is None else rows.filter(tenant_id__in=("", tenant_id))


def host_is_named(host_id: str, name: str) -> bool:
    """Whether ``name`` is the host's id, its NQN, or (case-insensitively) its own name. The 3.22
    agent uses its NQN.
    """
    if name == host_id:
        return True
    names = Q(name__iexact=name) | Q(nqn=name)
    return Host.objects.filter(names, pk=host_id).exists()


def syslog_server_list() -> QuerySet[SyslogServer]:
    """The syslog servers of the pool."""
    return SyslogServer.objects.all()


def syslog_source_id() -> str | None:
    """The persistentID of the backend whose syslog settings count; None: there is none."""
    return SyslogSource.objects.values_list("backend_id", flat=True).first()


def license_current() -> License:
    """The licence in force."""
    return License.objects.get()
