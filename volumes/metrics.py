"""The ``ks_`` metrics of the reference, "Get Metrics", from the database in a constant number of
queries.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Case, Count, Model, QuerySet, Value, When
from prometheus_client.core import GaugeMetricFamily, Metric

from inventory.selectors import BackendSummary, backend_list
from provisioner.common.models import LifeState
from tasks.metrics import task_metrics
from volumes.models import (
    Drain,
    Export,
    Orphan,
    Publication,
    Replica,
    ReplicaMove,
    ReplicaState,
    Snapshot,
    Volume,
)
from volumes.selectors import volumes_measured, volumes_visible
from volumes.services.moves import OF_DRAIN, drain_tasks

MOST_REPLICAS = 4
NODE = ["node", "name"]
VOLUME = [
    "uuid",
    "alias",
    "numReplicas",
    "tenantID",
    "storageClassName",
    "provisioningType",
    "protocol",
]
HOST = ["hostId", "hostname", "nqn"]
AVAILABLE, UNAVAILABLE = 1, 2
VOLUME_AVAILABLE, VOLUME_UNAVAILABLE = 0, 1
REPLICA_STATES = {
    ReplicaState.AVAILABLE: 0,
    ReplicaState.TERMINATING: 1,
    ReplicaState.MISSING: 2,
    ReplicaState.UNKNOWN: 3,
    ReplicaState.SYNCHRONIZING: 4,
}
PASSING: tuple[type[Model], ...] = (Volume, Replica, Snapshot, Publication, Export)
NODE_VALUES = {
    "ks_node_free_capacity_bytes": "Free capacity of a storage node in bytes",
    "ks_node_used_capacity_bytes": "Used capacity of a storage node in bytes",
    "ks_node_free_iops": "IOPS of a storage node that no volume desires",
    "ks_node_used_iops": "IOPS of a storage node that volumes desire",
    "ks_node_free_bw_bytes_per_sec": "Bandwidth of a storage node that no volume desires",
    "ks_node_used_bw_bytes_per_sec": "Bandwidth of a storage node that volumes desire",
}


class PoolCollector:
    """A prometheus_client collector of nodes, volumes and publications as they are now."""

    def collect(self) -> Iterator[Metric]:
        yield from node_metrics(backend_list())
        volumes = volumes_measured(volumes_visible(None).order_by("uuid"))
        yield from volume_metrics(volumes)
        yield from check_metrics()
        yield from drain_metrics()
        yield unfinished_metric()
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


def drain_metrics() -> Iterator[Metric]:
    """How far the nodes are that are being emptied."""
    family = GaugeMetricFamily(
        "provisioner_drain_replicas",
        "Replicas of a node that is drained: left on it; of those moving, and refused to move",
        labels=["node", "state"],
    )
    moves = ReplicaMove.objects.exclude(refusal="")
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
    """The collector's backlog, and what is under way."""
    family = GaugeMetricFamily(
        "provisioner_unfinished",
        "Rows in a passing state: what requests are at, or the collector will take up",
        labels=["kind", "state"],
    )
    for model in PASSING:
        rows = model._default_manager.exclude(state=LifeState.READY).order_by("state")
        for state, number in rows.values_list("state").annotate(number=Count("pk")):
            family.add_metric([model._meta.model_name or "", state], number)
    return family


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


def volume_metrics(volumes: Iterable[Volume]) -> Iterator[Metric]:
    places = [
        f"{n}{i}" for i in range(1, MOST_REPLICAS + 1) for n in ("repUUID", "nodeID", "nodeName")
    ]
    capacity = GaugeMetricFamily(
        "ks_vol_capacity_bytes",
        "Capacity of a volume in bytes",
        labels=[*VOLUME, *places],
    )
    connected = GaugeMetricFamily(
        "ks_connected_volumes_state",
        "State of a published volume: 0 Available, 1 Unavailable",
        labels=["uuid", "alias", *HOST, "version"],
    )
    replicas = GaugeMetricFamily(
        "ks_connected_replica_state",
        "State of a replica of a published volume: 0 Available, 1 Terminating, 2 Missing, "
        "3 Unknown, 4 Synchronizing",
        labels=["uuid", "alias", "repUUID", *HOST],
    )
    for volume in volumes:
        capacity.add_metric(_volume_labels(volume), volume.capacity_bytes)
        _add_connections(volume, connected, replicas)
    yield capacity
    yield connected
    yield replicas


def _volume_labels(volume: Volume) -> list[str]:
    copies = list(volume.replicas.all())[:MOST_REPLICAS]
    labels = [volume.uuid, volume.alias, str(len(copies)), volume.tenant_id]
    derived = volume.snapshot_id is not None or volume.cloned_from
    kind = "Snapshot/Clone" if derived else volume.provisioning_type
    labels += [volume.storage_class_name or "unknown", kind, volume.protocol]
    for replica in copies:
        name = replica.backend.name if replica.backend else ""
        labels += [replica.uuid if len(copies) > 1 else "", replica.backend_id or "", name]
    return labels + [""] * (3 * (MOST_REPLICAS - len(copies)))


def _add_connections(volume: Volume, connected: Any, replicas: Any) -> None:
    copies = list(volume.replicas.all())
    available = any(r.replica_state == ReplicaState.AVAILABLE for r in copies)
    state = VOLUME_AVAILABLE if available else VOLUME_UNAVAILABLE
    for publication in volume.publications.all():
        if publication.nsid is None or publication.state != LifeState.READY:
            continue
        host = publication.host
        labels = [volume.uuid, volume.alias]
        host_labels = [host.uuid, host.name, host.nqn]
        connected.add_metric([*labels, *host_labels, host.version], state)
        for replica in copies:
            value = REPLICA_STATES[ReplicaState(replica.replica_state)]
            replicas.add_metric([*labels, replica.uuid, *host_labels], value)
