"""Metrics of the pool (reference, "Get Metrics"), in a constant number of queries."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.db.models import Case, Count, Exists, Model, OuterRef, QuerySet, Value, When
from prometheus_client.core import GaugeMetricFamily, Metric

from events.kinds import Severity
from events.selectors import urgent_counts
from inventory.backend_selectors import backend_list
from inventory.health import NodeHealth
from inventory.models import Pool
from inventory.read_models import BackendSummary
from inventory.services.node.certificate_ends import file_certificate_ends
from inventory.services.pool.identity import database_doubt
from provisioner.common import clock
from provisioner.common.models import LifeState
from tasks.metrics import task_metrics
from volumes.health_selectors import volume_counts
from volumes.metrics.scale import scale_metrics
from volumes.models import (
    Drain,
    Export,
    Orphan,
    Publication,
    Replica,
    ReplicaRelocation,
    ReplicaState,
    Snapshot,
    Tenant,
    Volume,
)
from volumes.services.node.drain import OF_DRAIN, drain_tasks

NODE = ["node", "name"]
AVAILABLE, UNAVAILABLE = 1, 2
RECENT = dt.timedelta(hours=1)
TRANSITIONAL: tuple[type[Model], ...] = (Volume, Replica, Snapshot, Publication, Export)
NODE_VALUES = {
    "ks_node_free_capacity_bytes": "Free capacity of a storage node in bytes",
    "ks_node_used_capacity_bytes": "Used capacity of a storage node in bytes",
    "ks_node_free_iops": "Unreserved IOPS of a storage node",
    "ks_node_used_iops": "Reserved IOPS of a storage node",
    "ks_node_free_bw_bytes_per_sec": "Unreserved bandwidth of a storage node",
    "ks_node_used_bw_bytes_per_sec": "Reserved bandwidth of a storage node",
}


class PoolCollector:
    """Prometheus collector of the current metrics of nodes, tasks and node checks.

    :mod:`volumes.metrics.volumes` writes the metrics of volumes, because there are many more
    volumes.
    """

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the pool."""
        backends = backend_list()
        yield from node_metrics(backends)
        yield from health_metrics(backends)
        yield from check_metrics()
        yield from drain_metrics()
        yield unfinished_metric()
        yield barred_metric()
        yield from tenant_metrics()
        yield certificate_metric(backends)
        yield event_metric()
        yield from scale_metrics()
        yield from task_metrics()


def health_metrics(backends: Iterable[BackendSummary]) -> Iterator[Metric]:
    """Yield the numbers of nodes and volumes by health (docs/explanation/health.md)."""
    nodes = Counter(summary.backend.health for summary in backends)
    yield _by_health("node", {health: nodes[health] for health in NodeHealth})
    yield _by_health("volume", volume_counts())


def _by_health(kind: str, numbers: Mapping[Any, int]) -> Metric:
    name, text = f"provisioner_{kind}_health", f"Number of {kind}s with each health"
    family = GaugeMetricFamily(name, text, labels=["health"])
    for health, number in numbers.items():
        family.add_metric([str(health)], number)
    return family


def check_metrics() -> Iterator[Metric]:
    """Yield the numbers of orphans, which node checks found, and of Missing replicas."""
    orphans = GaugeMetricFamily(
        "provisioner_orphans",
        "Number of objects on nodes that the database does not know",
        labels=["node", "kind"],
    )
    rows = Orphan.objects.order_by("backend_id", "kind").values_list("backend_id", "kind")
    for node, kind, number in rows.annotate(number=Count("pk")):
        orphans.add_metric([node, kind], number)
    missing = GaugeMetricFamily(
        "provisioner_missing_replicas",
        "Number of Missing replicas; only: whether no other replica has the data of the volume",
        labels=["node", "only"],
    )
    lost = Replica.objects.filter(replica_state=ReplicaState.MISSING, state=LifeState.READY)
    ready = Replica.objects.filter(volume=OuterRef("volume"), state=LifeState.READY)
    others = ready.filter(rebuilding=False).exclude(replica_state=ReplicaState.MISSING)
    only = Case(When(Exists(others), then=Value("no")), default=Value("yes"))
    by_node = lost.annotate(only=only).order_by("backend_id", "only")
    for node, text, number in by_node.values_list("backend_id", "only").annotate(n=Count("pk")):
        missing.add_metric([node or "", text], number)
    yield orphans
    yield missing


def drain_metrics() -> Iterator[Metric]:
    """Yield the progress of drains."""
    family = GaugeMetricFamily(
        "provisioner_drain_replicas",
        "Number of replicas on a drained node: all that are left; of these, moving now, and "
        "refused at the last attempt",
        labels=["node", "state"],
    )
    moves = ReplicaRelocation.objects.exclude(refusal="")
    numbers = {
        "left": _by_node(Replica.objects.filter(backend__drain__isnull=False), "backend"),
        "moving": _by_node(drain_tasks(), OF_DRAIN),
        "refused": _by_node(moves, "replica__backend"),
    }
    for node in Drain.objects.values_list("pk", flat=True):
        for state, by_node in numbers.items():
            family.add_metric([node, state], by_node.get(node, 0))
    yield family


def _by_node(rows: QuerySet[Any], field: str) -> dict[str, int]:
    return dict(rows.order_by(field).values_list(field).annotate(number=Count("pk")))


def unfinished_metric() -> Metric:
    """Return the number of rows in a transitional state."""
    family = GaugeMetricFamily(
        "provisioner_unfinished",
        "Number of rows in a transitional state: requests in progress, and the collector's backlog",
        labels=["kind", "state"],
    )
    for model in TRANSITIONAL:
        unfinished = model._default_manager.filter(deadline_at__isnull=False)  # uses an index
        rows = unfinished.exclude(state=LifeState.READY).order_by("state")
        for state, number in rows.values_list("state").annotate(number=Count("pk")):
            family.add_metric([model._meta.model_name or "", state], number)
    return family


def barred_metric() -> Metric:
    """Return whether writes are barred."""
    return GaugeMetricFamily(
        "provisioner_writes_barred",
        "1: writes are barred because the database may be older than its nodes; 0: writes are "
        "allowed",
        value=bool(database_doubt()),
    )


def tenant_metrics() -> Iterator[Metric]:
    """Yield the budget and the used capacity of each tenant that has a budget."""
    budget = GaugeMetricFamily(
        "provisioner_tenant_budget_bytes", "Capacity budget of a tenant", labels=["tenant"]
    )
    used = GaugeMetricFamily(
        "provisioner_tenant_used_bytes", "Capacity that a tenant has claimed", labels=["tenant"]
    )
    rows = Tenant.objects.exclude(capacity_bytes=0)
    for tenant, capacity, claimed in rows.values_list("pk", "capacity_bytes", "used_bytes"):
        budget.add_metric([tenant], capacity)
        used.add_metric([tenant], claimed)
    yield budget
    yield used


def certificate_metric(backends: Iterable[BackendSummary]) -> Metric:
    """Return the expiry of certificates: of the nodes, of PUBLIC_URL, and of the files of this
    process.
    """
    family = GaugeMetricFamily(
        "provisioner_certificate_end_timestamp_seconds",
        "Expiry of a certificate in seconds since 1970; certificate: node, or the setting that "
        "names the file",
        labels=["certificate", *NODE],
    )
    nodes = [summary.backend for summary in backends]
    presented = [
        ("node", node.persistent_id, node.name, node.certificate_ends_at) for node in nodes
    ]
    url_ends_at = Pool.objects.values_list("certificate_ends_at", flat=True).first()
    presented.append(("PUBLIC_URL", "", "", url_ends_at))
    presented += [(name, "", "", ends_at) for name, ends_at in file_certificate_ends()]
    for *labels, ends_at in presented:
        if ends_at is not None:
            family.add_metric(labels, ends_at.timestamp())
    return family


def event_metric() -> Metric:
    """Return the number of events of severity ``warning`` or higher in the last hour."""
    family = GaugeMetricFamily(
        "provisioner_recent_events",
        "Number of events of the last hour with severity warning or higher",
        labels=["kind", "severity"],
    )
    for kind, severity, number in urgent_counts(clock.now() - RECENT):
        family.add_metric([kind, Severity(severity).wire], number)
    return family


def node_metrics(backends: Iterable[BackendSummary]) -> Iterator[Metric]:
    """Yield state, capacity, IOPS and bandwidth of each node."""
    state = GaugeMetricFamily(
        "ks_node_state",
        "State of a storage node: 1 Available, 2 Unavailable",
        labels=[*NODE, "rack", "zone", "region"],
    )
    values = {n: GaugeMetricFamily(n, text, labels=NODE) for n, text in NODE_VALUES.items()}
    for summary in backends:
        node = summary.backend
        labels = [node.persistent_id, node.name]
        location = [place or "null" for place in (node.rack, node.zone, node.region)]
        state.add_metric([*labels, *location], AVAILABLE if summary.is_available else UNAVAILABLE)
        used = (
            summary.free_bytes,
            summary.capacity_bytes - summary.free_bytes,
            node.total_iops - node.used_iops,
            node.used_iops,
            node.total_bw - node.used_bw,
            node.used_bw,
        )
        for family, value in zip(values.values(), used, strict=True):
            family.add_metric(labels, value)
    yield state
    yield from values.values()
