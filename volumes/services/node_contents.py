"""What nodes hold, read from them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from inventory.models import Backend
from inventory.nodes import wire
from inventory.nodes.client import NodeClient, call_all
from inventory.nodes.strays import Stray
from inventory.services.nodes import node_client
from volumes.services.node_work import NodeError


@dataclass(frozen=True)
class NodeContents:
    node: wire.Node
    volumes: tuple[wire.Volume, ...]
    snapshots: tuple[wire.Snapshot, ...]
    targets: tuple[wire.Target, ...]


def nodes_read(
    backends: Iterable[Backend], *, timeout_seconds: float
) -> dict[str, NodeContents | NodeError]:
    """All that each node holds, by its id, read in parallel.

    Read before the rows, it holds nothing that no row stands for, but for what is being removed: a
    row is there before what it stands for.
    """
    calls = {b.pk: partial(_read, node_client(b)) for b in backends}
    return call_all(calls, timeout_seconds=timeout_seconds)


def strays_read(
    backends: Iterable[Backend], *, timeout_seconds: float
) -> dict[str, tuple[Stray, ...] | NodeError]:
    """Where the data plane of each node differs from what its agent believes, by its id."""
    calls = {b.pk: node_client(b).read_strays for b in backends}
    return call_all(calls, timeout_seconds=timeout_seconds)


def _read(client: NodeClient) -> NodeContents:
    return NodeContents(
        client.read_node(),
        client.list_volumes(),
        client.list_snapshots(),
        client.list_targets(),
    )
