"""Reads the pool."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import linear_regression
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum

from inventory.health import NodeHealth, node_health, node_health_reason
from inventory.models import (
    Backend,
    Host,
    InventorySample,
    License,
    Ssd,
    SyslogServer,
    SyslogSource,
)
from provisioner.common.models import LifeState
from provisioner.common.parsing import INT64_MAX


@dataclass(frozen=True)
class BackendSummary:
    """A backend with the sums of its present drives, in bytes."""

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
    made = Count("replicas", filter=Q(replicas__state=LifeState.READY))
    volumes = dict(backends.order_by().annotate(made=made).values_list("pk", "made"))
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


def _drives(persistent_id: str | None) -> dict[str, tuple[int, int, int]]:
    """Capacity, free bytes and number of drives, by backend."""
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


@dataclass(frozen=True)
class CapacityTrend:
    """The recent trend of the pool's reserved capacity.

    ``days_left``: days until all drives are reserved at that rate; None: the reserved capacity does
    not increase.
    """

    bytes_per_day: float
    days_observed: float
    days_left: float | None


TREND_SAMPLES = 3
TREND_DAYS = 0.5
DAY = 86_400


def capacity_trend() -> CapacityTrend | None:
    """The trend of the samples, by least squares. None: there are too few, or they span half a day
    or less.
    """
    rows = InventorySample.objects.filter(used_bytes__isnull=False).order_by("pk")
    values = rows.values_list("taken_at", "used_bytes", "capacity_bytes")
    samples = [(at, used or 0, capacity or 0) for at, used, capacity in values]
    if len(samples) < TREND_SAMPLES:
        return None
    days = [(at - samples[0][0]).total_seconds() / DAY for at, _, _ in samples]
    if days[-1] <= TREND_DAYS:
        return None
    slope = linear_regression(days, [used for _, used, _ in samples]).slope
    _, used, capacity = samples[-1]
    left = max(0, capacity - used) / slope if slope > 0 else None
    return CapacityTrend(slope, days[-1], left)


SAMPLES_SHOWN = 100


class Change(StrEnum):
    """How a backend changed from one sample to the next (reference, "Get Inventory")."""

    NONE = "NONE"
    NEW = "NEW"
    REMOVED = "REMOVED"
    MODIFIED = "MODIFIED"


Entry = dict[str, Any]
"""A backend in a sample: hardwareId, version, state, numSSDs."""

Changes = list[tuple[Change, Entry]]


def sample_list() -> list[tuple[InventorySample, Changes]]:
    """The newest SAMPLES_SHOWN samples, oldest first, each with its changes since the
    previous one.
    """
    newest = InventorySample.objects.order_by("-pk")[: SAMPLES_SHOWN + 1]
    before: list[Entry] = []
    found = []
    for sample in reversed(newest):
        found.append((sample, _changes(before, sample.backends)))
        before = sample.backends
    return found[-SAMPLES_SHOWN:]


def _changes(before: Sequence[Entry], after: Sequence[Entry]) -> Changes:
    """The changed backends, by hardwareId."""
    old = {entry["hardwareId"]: entry for entry in before}
    new = {entry["hardwareId"]: entry for entry in after}
    changed = [name for name in sorted(old | new) if old.get(name) != new.get(name)]
    return [(_change(old.get(name), new.get(name)), new.get(name) or old[name]) for name in changed]


def _change(old: Entry | None, new: Entry | None) -> Change:
    if old is None:
        return Change.NEW
    return Change.MODIFIED if new else Change.REMOVED
