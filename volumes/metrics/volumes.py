"""The ``ks_`` metrics of volumes as text, BATCH volumes at a time to bound memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from django.db.models import QuerySet
from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from inventory.models import Backend
from provisioner.common.models import LifeState
from volumes.models import Protocol, Publication, ReplicaState, Volume
from volumes.read_models import ReplicaRow, VolumeAndReplicas, VolumeRow, volume_rows
from volumes.selectors import volumes_visible

BATCH = 500
MOST_REPLICAS = 4
VOLUME = (
    "uuid",
    "alias",
    "numReplicas",
    "tenantID",
    "storageClassName",
    "provisioningType",
    "protocol",
)
PLACES = [
    f"{name}{n}" for n in range(1, MOST_REPLICAS + 1) for name in ("repUUID", "nodeID", "nodeName")
]
HOST = ("hostId", "hostname", "nqn")
VOLUME_AVAILABLE, VOLUME_UNAVAILABLE = 0, 1
REPLICA_STATES = {
    ReplicaState.AVAILABLE: 0,
    ReplicaState.TERMINATING: 1,
    ReplicaState.MISSING: 2,
    ReplicaState.UNKNOWN: 3,
    ReplicaState.SYNCHRONIZING: 4,
}


class Sample(NamedTuple):
    """One sample: label values and value."""

    labels: list[str]
    value: float


class _Connection(NamedTuple):
    """A volume as a namespace of a host's target."""

    volume_id: int
    host__uuid: str
    host__name: str
    host__nqn: str
    host__version: str


@dataclass(frozen=True)
class _Family(Collector):
    family: GaugeMetricFamily

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield self.family


def volume_metrics() -> Iterator[bytes]:
    """Yield the text of the metrics. The number of queries grows only with the number of
    batches.
    """
    volumes = volumes_visible(None)
    published = volumes.exclude(protocol=Protocol.LOCAL).filter(
        pk__in=Publication.objects.filter(state=LifeState.READY).values("volume")
    )
    yield from _text(
        GaugeMetricFamily(
            "ks_vol_capacity_bytes", "Capacity of a volume in bytes", labels=[*VOLUME, *PLACES]
        ),
        volumes,
        _capacities,
    )
    yield from _text(
        GaugeMetricFamily(
            "ks_connected_volumes_state",
            "State of a published volume: 0 Available, 1 Unavailable",
            labels=["uuid", "alias", *HOST, "version"],
        ),
        published,
        _connected,
    )
    yield from _text(
        GaugeMetricFamily(
            "ks_connected_replica_state",
            "State of a replica of a published volume: 0 Available, 1 Terminating, 2 Missing, "
            "3 Unknown, 4 Synchronizing",
            labels=["uuid", "alias", "repUUID", *HOST],
        ),
        published,
        _connected_replicas,
    )


def _text(
    family: GaugeMetricFamily,
    rows: QuerySet[Volume],
    samples: Callable[[list[VolumeAndReplicas]], Iterator[Sample]],
) -> Iterator[bytes]:
    """Yield the family's text by batches. Its head (HELP and TYPE) comes only before the first."""
    heads = 0
    for batch in _batches(rows):
        family.samples.clear()
        for sample in samples(batch):
            family.add_metric(*sample)
        yield generate_latest(_Family(family)).split(b"\n", heads)[heads]
        heads = 2


def _batches(rows: QuerySet[Volume]) -> Iterator[list[VolumeAndReplicas]]:
    """Yield at least one batch, which may be empty."""
    last = ""
    while True:
        batch = volume_rows(rows.filter(uuid__gt=last).order_by("uuid")[:BATCH])
        yield batch
        if len(batch) < BATCH:
            return
        last = batch[-1][0].uuid


def _capacities(batch: list[VolumeAndReplicas]) -> Iterator[Sample]:
    names = _node_names(batch)
    for volume, replicas in batch:
        copies = replicas[:MOST_REPLICAS]
        labels = _volume_labels(volume, len(copies))
        for replica in copies:
            node = replica.backend_id or ""
            labels += [replica.uuid if len(copies) > 1 else "", node, names.get(node, "")]
        labels += [""] * (3 * (MOST_REPLICAS - len(copies)))
        yield Sample(labels, volume.capacity_bytes)


def _volume_labels(volume: VolumeRow, copies: int) -> list[str]:
    derived = volume.snapshot__uuid is not None or volume.cloned_from
    kind = "Snapshot/Clone" if derived else volume.provisioning_type
    labels = [volume.uuid, volume.alias, str(copies), volume.tenant_id]
    return [*labels, volume.storage_class_name or "unknown", kind, volume.protocol]


def _node_names(batch: list[VolumeAndReplicas]) -> dict[str, str]:
    nodes = {replica.backend_id for _, replicas in batch for replica in replicas}
    return dict(Backend.objects.filter(pk__in=nodes).values_list("pk", "name"))


def _connected(batch: list[VolumeAndReplicas]) -> Iterator[Sample]:
    for volume, replicas, to in _connections(batch):
        available = any(r.replica_state == ReplicaState.AVAILABLE for r in replicas)
        labels = [volume.uuid, volume.alias, *to[1:]]
        yield Sample(labels, VOLUME_AVAILABLE if available else VOLUME_UNAVAILABLE)


def _connected_replicas(batch: list[VolumeAndReplicas]) -> Iterator[Sample]:
    for volume, replicas, to in _connections(batch):
        for replica in replicas:
            labels = [volume.uuid, volume.alias, replica.uuid]
            labels += [to.host__uuid, to.host__name, to.host__nqn]
            yield Sample(labels, REPLICA_STATES[ReplicaState(replica.replica_state)])


def _connections(
    batch: list[VolumeAndReplicas],
) -> Iterator[tuple[VolumeRow, list[ReplicaRow], _Connection]]:
    shown = {volume.id: (volume, replicas) for volume, replicas in batch}
    ready = Publication.objects.filter(volume__in=shown, state=LifeState.READY)
    rows = ready.order_by("volume__uuid", "pk")
    for row in rows.values_list(*_Connection._fields):
        to = _Connection._make(row)
        yield *shown[to.volume_id], to
