"""The ``ks_`` metrics of volumes, written as text directly from the rows of the database."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import IO, Any
from wsgiref.util import FileWrapper

from django.db.models import QuerySet
from prometheus_client.utils import floatToGoString

from inventory.models import Backend
from provisioner.common.models import LifeState
from volumes.models import Protocol, Publication, Replica, ReplicaState
from volumes.selectors import VISIBLE, volumes_visible

ROWS = 2000
"""The number of rows of each query that are in memory."""
BATCH = 100
"""The number of volumes in a chunk of the text."""
MEMORY_BYTES = 2**20
"""The number of bytes of each delayed part of the text that are kept in memory. The rest is written
to a temporary file.
"""
CHUNK_BYTES = 2**16
MOST_REPLICAS = 4
VOLUME = [
    "uuid",
    "alias",
    "numReplicas",
    "tenantID",
    "storageClassName",
    "provisioningType",
    "protocol",
]
PLACES = [
    f"{name}{n}" for n in range(1, MOST_REPLICAS + 1) for name in ("repUUID", "nodeID", "nodeName")
]
HOST = ["hostId", "hostname", "nqn"]
VOLUME_AVAILABLE, VOLUME_UNAVAILABLE = 0, 1
REPLICA_STATES = {
    ReplicaState.AVAILABLE.value: 0,
    ReplicaState.TERMINATING.value: 1,
    ReplicaState.MISSING.value: 2,
    ReplicaState.UNKNOWN.value: 3,
    ReplicaState.SYNCHRONIZING.value: 4,
}
VOLUME_COLUMNS = (
    "id",
    "uuid",
    "alias",
    "tenant_id",
    "storage_class_name",
    "snapshot_id",
    "cloned_from",
    "provisioning_type",
    "protocol",
    "capacity_bytes",
)
REPLICA_COLUMNS = ("volume_id", "uuid", "backend_id", "replica_state")
CONNECTION_COLUMNS = ("volume_id", "host__uuid", "host__name", "host__nqn", "host__version")
Row = tuple[Any, ...]


class _Family:
    """The text of a gauge: its head, and one line for each sample."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self.head = f"# HELP {name} {text}\n# TYPE {name} gauge\n".encode()
        pairs = ",".join(f'{label}="%s"' for label in labels)
        self.line = f"{name}{{{pairs}}} %s\n"
        """``%`` a tuple of escaped label values and the value."""


CAPACITY = _Family("ks_vol_capacity_bytes", "Capacity of a volume in bytes", VOLUME + PLACES)
CONNECTED = _Family(
    "ks_connected_volumes_state",
    "State of a published volume: 0 Available, 1 Unavailable",
    ["uuid", "alias", *HOST, "version"],
)
CONNECTED_REPLICA = _Family(
    "ks_connected_replica_state",
    "State of a replica of a published volume: 0 Available, 1 Terminating, 2 Missing, "
    "3 Unknown, 4 Synchronizing",
    ["uuid", "alias", "repUUID", *HOST],
)


def volume_metrics() -> Iterator[bytes]:
    """Yield the text of the metrics, in chunks of BATCH volumes. This takes four queries, and
    memory that does not depend on the number of volumes.
    """
    with SpooledTemporaryFile(MEMORY_BYTES) as states, SpooledTemporaryFile(MEMORY_BYTES) as legs:
        yield CAPACITY.head
        states.write(CONNECTED.head)
        legs.write(CONNECTED_REPLICA.head)
        yield from _capacities(states, legs)
        for later in (states, legs):
            later.seek(0)
            yield from FileWrapper(later, CHUNK_BYTES)


def _capacities(states: IO[bytes], legs: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of capacities. Write the lines of published volumes to ``states``, and those
    of their replicas to ``legs``.
    """
    nodes = {
        key: (_escaped(key), _escaped(name))
        for key, name in Backend.objects.values_list("pk", "name")
    }
    volumes = volumes_visible(None)
    visible = Replica.objects.filter(VISIBLE, volume__state=LifeState.READY)
    ready = Publication.objects.filter(
        volume__state=LifeState.READY, state=LifeState.READY
    ).exclude(volume__protocol=Protocol.LOCAL)
    replicas_of = _by_volume(_rows(visible, REPLICA_COLUMNS, "volume_id", "pk"))
    connections_of = _by_volume(_rows(ready, CONNECTION_COLUMNS, "volume_id", "pk"))
    rows = _rows(volumes, VOLUME_COLUMNS, "pk")
    while batch := list(islice(rows, BATCH)):
        whole = [(v, replicas_of(v[0]), connections_of(v[0])) for v in batch]
        shown = [(v, replicas, to) for v, replicas, hosts in whole for to in hosts]
        states.write(_joined(_connected(v, replicas, to) for v, replicas, to in shown))
        legs.write(_joined(_legs(v, replicas, to) for v, replicas, to in shown))
        yield _joined(_capacity(v, replicas, nodes) for v, replicas, _ in whole)


def _rows(rows: QuerySet[Any], columns: Sequence[str], *order: str) -> Iterator[Row]:
    """Yield the rows as tuples, read through a server-side cursor."""
    return rows.order_by(*order).values_list(*columns).iterator(chunk_size=ROWS)


def _by_volume(rows: Iterator[Row]) -> Callable[[int], list[Row]]:
    """Return a function that returns the rows of a volume. Call it with volume keys in ascending
    order.

    ``rows`` must be in the same order. Their first column is the key of the volume.
    """
    ahead = next(rows, None)

    def of(key: int) -> list[Row]:
        nonlocal ahead
        found = []
        while ahead is not None and ahead[0] <= key:
            if ahead[0] == key:
                found.append(ahead)
            ahead = next(rows, None)
        return found

    return of


def _capacity(volume: Row, replicas: Sequence[Row], nodes: dict[str, tuple[str, str]]) -> str:
    _, uuid, alias, tenant, storage_class, snapshot, source, kind, protocol, capacity = volume
    copies = replicas[:MOST_REPLICAS]
    derived = snapshot is not None or source
    labels = [_escaped(uuid), _escaped(alias), len(copies), _escaped(tenant)]
    labels += [
        _escaped(storage_class) or "unknown",
        "Snapshot/Clone" if derived else kind,
        protocol,
    ]
    for _, name, node, _ in copies:
        labels += [_escaped(name) if len(copies) > 1 else "", *nodes.get(node, ("", ""))]
    labels += [""] * (3 * (MOST_REPLICAS - len(copies)))
    return CAPACITY.line % (*labels, _number(capacity))


def _connected(volume: Row, replicas: Sequence[Row], to: Row) -> str:
    available = any(state == ReplicaState.AVAILABLE for _, _, _, state in replicas)
    value = VOLUME_AVAILABLE if available else VOLUME_UNAVAILABLE
    return CONNECTED.line % (*map(_escaped, volume[1:3]), *map(_escaped, to[1:]), _number(value))


def _legs(volume: Row, replicas: Sequence[Row], to: Row) -> str:
    about, host = tuple(map(_escaped, volume[1:3])), tuple(map(_escaped, to[1:4]))
    return "".join(
        CONNECTED_REPLICA.line % (*about, _escaped(uuid), *host, _number(REPLICA_STATES[state]))
        for _, uuid, _, state in replicas
    )


def _joined(lines: Iterable[str]) -> bytes:
    return "".join(lines).encode()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


@lru_cache(1024)
def _number(value: int) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]
