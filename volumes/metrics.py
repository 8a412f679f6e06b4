"""Metrics of the pool (reference, "Get Metrics"), in a constant number of queries."""

from collections.abc import Iterable, Iterator

from django.db.models import Case, Count, Value, When
from prometheus_client.core import GaugeMetricFamily, Metric

from inventory.selectors import BackendSummary, backend_list
from provisioner.common.models import LifeState
from tasks.metrics import task_metrics
from volumes.models import Orphan, Replica, ReplicaState

NODE = ["node", "name"]
AVAILABLE, UNAVAILABLE = 1, 2
NODE_VALUES = {
    "ks_node_free_capacity_bytes": "Free capacity of a storage node in bytes",
    "ks_node_used_capacity_bytes": "Used capacity of a storage node in bytes",
    "ks_node_free_iops": "IOPS of a storage node that no volume desires",
    "ks_node_used_iops": "IOPS of a storage node that volumes desire",
    "ks_node_free_bw_bytes_per_sec": "Bandwidth of a storage node that no volume desires",
    "ks_node_used_bw_bytes_per_sec": "Bandwidth of a storage node that volumes desire",
}


class PoolCollector:
    """A prometheus_client collector of nodes, tasks and findings as they are now. Volumes, of which
    there are many more: :mod:`volumes.volume_metrics`.
    """

    def collect(self) -> Iterator[Metric]:
        yield from node_metrics(backend_list())
        yield from check_metrics()
        yield from task_metrics()


def check_metrics() -> Iterator[Metric]:
    """What the checks of nodes found, and hosts reported."""
    orphans = GaugeMetricFamily(
        "provisioner_orphans", "What nodes hold and no row knows", labels=["node", "kind"]
    )
    rows = Orphan.objects.order_by("backend_id", "kind").values_list("backend_id", "kind")
    for node, kind, number in rows.annotate(number=Count("pk")):
        orphans.add_metric([node, kind], number)
    missing = GaugeMetricFamily(
        "provisioner_missing_replicas",
        "Replicas that are Missing; only: of volumes that have no other",
        labels=["node", "only"],
    )
    lost = Replica.objects.filter(replica_state=ReplicaState.MISSING, state=LifeState.READY)
    only = Case(When(volume__num_replicas=1, then=Value("yes")), default=Value("no"))
    by_node = lost.annotate(only=only).order_by("backend_id", "only")
    for node, text, number in by_node.values_list("backend_id", "only").annotate(n=Count("pk")):
        missing.add_metric([node or "", text], number)
    yield orphans
    yield missing


def node_metrics(backends: Iterable[BackendSummary]) -> Iterator[Metric]:
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
        state.add_metric([*labels, *location], AVAILABLE if node.is_available else UNAVAILABLE)
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
