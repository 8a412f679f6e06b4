"""Read the contents of nodes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from inventory.models import Backend
from inventory.nodes import wire
from inventory.nodes.client import NodeClient, NodeRefused, call_all
from inventory.nodes.drift import DriftItem
from inventory.services.node.answers import call_outcomes_record
from inventory.services.node.clients import node_client
from volumes.models import Replica
from volumes.services.node_calls import NodeError


@dataclass(frozen=True)
class NodeContents:
    """All objects on one node."""

    node: wire.Node
    volumes: tuple[wire.Volume, ...]
    snapshots: tuple[wire.Snapshot, ...]
    targets: tuple[wire.Target, ...]

    def generations_of(self, pool: str) -> list[int]:
        """Return the generations of the volumes and snapshots of the pool."""
        objects: tuple[wire.Volume | wire.Snapshot, ...] = (*self.volumes, *self.snapshots)
        return [one.generation for one in objects if one.owner and one.owner.pool == pool]


def nodes_read(
    backends: Iterable[Backend], *, timeout_seconds: float
) -> dict[str, NodeContents | NodeError]:
    """Read all objects of each node, in parallel. Returns the results by backend id.

    A row is inserted before its object is created on a node. So if nodes are read before the rows,
    each object on a node has a row, unless the object is being removed or is an orphan.
    """
    calls = {b.pk: partial(_read, node_client(b)) for b in backends}
    contents = call_all(calls, timeout_seconds=timeout_seconds)
    call_outcomes_record(contents.items())
    return contents


def replicas_find(
    replicas: Iterable[Replica], *, timeout_seconds: float
) -> dict[int, bool | NodeError]:
    """Ask nodes whether they hold the replicas, each with its generation and all its sub-volumes.

    Returns outcomes by replica key. True: the node holds the replica. False: the replica has no
    node any more. If the node does not hold it, the outcome is an error for which :func:`is_lost`
    is true.
    """
    found: dict[int, bool | NodeError] = {}
    calls: dict[int, Callable[[], bool]] = {}
    nodes: dict[int, str] = {}
    for replica in replicas:
        found[replica.pk] = False
        if replica.backend is not None:
            client = node_client(replica.backend)
            nodes[replica.pk] = replica.backend.pk
            calls[replica.pk] = partial(_find, client, replica.uuid, replica.pk, timeout_seconds)
    outcomes = call_all(calls, timeout_seconds=timeout_seconds, nodes=nodes)
    call_outcomes_record((nodes[key], outcome) for key, outcome in outcomes.items())
    return found | outcomes


def is_lost(outcome: object) -> bool:
    """Whether the outcome of a call says that the node does not have the object."""
    return isinstance(outcome, NodeRefused) and outcome.code is wire.RefusalCode.NOT_FOUND


def drift_read(
    backends: Iterable[Backend], *, timeout_seconds: float
) -> dict[str, tuple[DriftItem, ...] | NodeError]:
    """Read the drift of each node: the differences between its data plane and the records of its
    agent. Returns the results by backend id.
    """
    calls = {b.pk: node_client(b).read_drift for b in backends}
    return call_all(calls, timeout_seconds=timeout_seconds)


def _find(client: NodeClient, uuid: str, generation: int, timeout: float) -> bool:
    found = client.read_volume(uuid, timeout=timeout)
    if found is None or found.generation != generation:
        text = f"volume {uuid} of generation {generation} is not on the node"
        raise NodeRefused(wire.RefusalCode.NOT_FOUND, text)
    return True


def _read(client: NodeClient) -> NodeContents:
    return NodeContents(
        client.read_node(),
        client.list_volumes(),
        client.list_snapshots(),
        client.list_targets(),
    )
