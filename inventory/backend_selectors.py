"""Reads the list of nodes, which clients and Prometheus ask for often."""

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
from inventory.models import Backend, BackendAddress, Portal, Ssd
from inventory.read_models import BackendRow, BackendSummary, PortalRow
from provisioner.common import clock
from provisioner.common.compiled import Compiled, moment, text
from provisioner.common.models import LifeState


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
