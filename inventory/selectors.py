"""Reads the pool from the database."""

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

from django.db.models import (
    BigIntegerField,
    Count,
    F,
    Func,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
)
from django.db.models.functions import Cast

from inventory.health import (
    node_health,
    node_health_reason,
    node_pending_reason,
    node_reasons_until,
)
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
from provisioner.common.compiled import Compiled, moment, text
from provisioner.common.models import LifeState
from provisioner.common.parsing import INT64_MAX


class OfNodes:
    """A query about all nodes, or about one, each compiled once. ``build`` takes the condition."""

    def __init__(self, build: Callable[[Q], QuerySet[Any, Any]], column: str = "backend") -> None:
        self._all = Compiled(lambda: build(Q()))
        self._one = Compiled(lambda: build(Q((column, text("node")))))

    def rows(self, node: str | None, **arguments: Any) -> Iterable[Any]:
        """The rows of this node; None: of all."""
        if node is None:
            return self._all.rows(**arguments)
        return self._one.rows(node=node, **arguments)


def _ready_replicas() -> Any:
    """The ``number`` of replicas of a backend that are READY, without grouping: an index has all
    that the query needs. Joined with the backends, it would take five times as long.
    """
    replicas = cast("Any", Backend._meta.get_field("replicas").related_model)._default_manager
    ready = replicas.filter(backend=OuterRef("pk"), state=LifeState.READY).order_by()
    return ready.annotate(number=Func(template="COUNT(*)", output_field=BigIntegerField()))


def _total(column: str) -> Cast:
    return Cast(Sum(column), BigIntegerField())


BACKENDS = OfNodes(
    lambda only: (
        Backend.objects.filter(only)
        .annotate(
            health=node_health(moment("now")),
            drained_since=F("drain__started_at"),
            volumes=Cast(Subquery(_ready_replicas().values("number")), BigIntegerField()),
        )
        .values_list(*BackendRow._fields)
    ),
    "persistent_id",
)
ADDRESSES = OfNodes(
    lambda only: (
        BackendAddress.objects.filter(only)
        .order_by("position")
        .values_list("backend_id", "address")
    )
)
PORTALS = OfNodes(
    lambda only: (
        Portal.objects.filter(only).order_by("id").values_list("backend_id", *PortalRow._fields)
    )
)
DRIVES = OfNodes(
    lambda only: (
        Ssd.objects.filter(only, present=True)
        .order_by()
        .values_list("backend_id")
        .annotate(capacity=_total("capacity_bytes"), used=_total("used_bytes"), number=Count("pk"))
    )
)


class _Kept(NamedTuple):
    """The summary of a node that has these rows, from one moment until another."""

    rows: tuple[Any, ...]
    since: dt.datetime
    until: dt.datetime
    summary: BackendSummary


_kept: dict[str, _Kept] = {}
"""Of the last list of all nodes that this process read, by node."""


def backend_list(
    *, persistent_id: str | None = None, health: str | None = None
) -> list[BackendSummary]:
    """Backends ordered by id: all, or the one with ``persistent_id``, or those with this
    NodeHealth. The number of queries, four, does not depend on the number of backends.

    The rows are read each time. A summary is made anew only if its rows have changed, or a text of
    its health has.
    """
    global _kept  # noqa: PLW0603
    now = clock.now()
    backends = BACKENDS.rows(persistent_id, now=now)
    addresses = _grouped(ADDRESSES.rows(persistent_id))
    portals = _grouped(PORTALS.rows(persistent_id))
    drives = {row[0]: row for row in DRIVES.rows(persistent_id)}
    known, found = _kept, dict[str, _Kept]()
    for backend in backends:
        key = backend[0]
        rows = backend, addresses.get(key, ()), portals.get(key, ()), drives.get(key)
        kept = known.get(key)
        if kept is None or kept.rows != rows or not kept.since <= now <= kept.until:
            kept = _summarized(rows, now)
        found[key] = kept
    if persistent_id is None:
        _kept = found
    summaries = [kept.summary for kept in found.values()]
    if health is None:
        return summaries
    return [summary for summary in summaries if summary.backend.health == health]


def _summarized(rows: tuple[Any, ...], now: dt.datetime) -> _Kept:
    """Make the summary of a node from the rows that :func:`backend_list` reads."""
    backend = BackendRow._make(rows[0])
    _, capacity, used, ssds = rows[3] or (None, 0, 0, 0)
    summary = BackendSummary(
        backend,
        mgmt_ips=tuple(address for _, address in rows[1]),
        portals=tuple(PortalRow._make(portal) for _, *portal in rows[2]),
        is_available=backend.available_until >= now,
        pending_reason=node_pending_reason(backend, now),
        health_reason=node_health_reason(backend, backend.health, backend.drained_since, now),
        capacity_bytes=capacity,
        free_bytes=capacity - used,
        ssds=ssds,
    )
    return _Kept(rows, now, node_reasons_until(backend, now), summary)


def _grouped(rows: Iterable[Any]) -> dict[str, list[Any]]:
    """The rows by their first column."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(row)
    return found


def ssd_numbers() -> dict[str, int]:
    """The number of present drives, by backend that has any."""
    return {row[0]: row[-1] for row in DRIVES.rows(None)}


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
