"""Checks that a node belongs to this pool, and that this database is not older than the node."""

from collections.abc import Iterable

from inventory.models import Recovery
from inventory.nodes.client import NodeClient, NodeRefused, NodeUnreachable
from inventory.nodes.wire import Node, Owner, PoolIdentity
from inventory.services.node.checks import NodeNotAvailable, call_seconds
from inventory.services.pool.generations import (
    generation_cached,
    generation_gap_clear,
    generations_issued,
    generations_raise,
)
from inventory.services.pool.identity import database_doubt_set, pool_identity
from provisioner.common.writes import require_writes


class OtherPool(NodeNotAvailable):
    """The node, or an object on it, belongs to another pool."""


def require_pool(client: NodeClient, node: Node, *, take_over: bool, until: float) -> None:
    """Check that the node belongs to no pool or to this one, or may be taken over from another
    pool. Calls to the node end at ``until``, a time of the monotonic clock.

    :raises OtherPool: names both pools, and how to take the node over.
    :raises NodeNotAvailable: the objects on the node cannot be read.
    :raises WritesBarred: the node has seen a generation that this database does not know.
    """
    mine = pool_identity()
    if node.pool and node.pool.uuid == mine.uuid:
        generation_compare(node)
        require_writes()
        return
    others = _other_pools(client, node, mine, until)
    if others and not take_over:
        raise OtherPool(
            f"storage node {node.persistent_id!r} belongs to, or holds volumes of, "
            f"{', '.join(others)}; this pool is {mine}. Remove the node from the other pool, or "
            "add it with takeOver = true: then it serves only this pool, and objects of other "
            "pools stay on it as orphans until an operator discards them"
        )
    generations_raise(above=node.newest_generation)
    generation_gap_clear()  # the node's generations may come from another pool


def generation_compare(node: Node, own: Iterable[int] = ()) -> None:
    """Bar writes if a node of this pool has seen a generation that this database never issued. Then
    the database is older than the node. ``own``: the generations of objects of this pool on it.
    """
    if not is_of_other_pool(node):
        _compare(node.persistent_id, [node.newest_generation, *own])


def probe_compare(persistent_id: str, newest_generation: int) -> None:
    """Bar writes if this database never issued the generation in the probe of a node. 0: the probe
    has none.

    Each process reads the generations of the database at most once a second, however many
    nodes send probes.
    """
    if not newest_generation or not generation_cached().lacks(newest_generation):
        return
    if persistent_id not in nodes_awaited():
        _compare(persistent_id, [newest_generation])


def nodes_awaited() -> set[str]:
    """Return the ids of the nodes that did not answer during the recovery of an older database.
    They may have seen later generations.
    """
    return {node for recovery in Recovery.objects.all() for node in recovery.awaited}


def _compare(persistent_id: str, generations: Iterable[int]) -> None:
    issued = generations_issued()
    strange = next((number for number in generations if issued.lacks(number)), None)
    if strange is not None:
        own = f"the last of this database is {issued.last}"
        if strange < issued.last:
            own = f"this database issued none between {issued.after} and {issued.until}"
        database_doubt_set(
            f"this database is older than storage node {persistent_id!r}, which has seen "
            f"generation {strange}; {own}"
        )


def is_of_other_pool(node: Node) -> bool:
    """Whether another pool took the node over."""
    return node.pool is not None and node.pool.uuid != pool_identity().uuid


def _other_pools(client: NodeClient, node: Node, mine: PoolIdentity, until: float) -> list[str]:
    """Return the other pools that the node and its objects belong to, as text."""
    try:
        held: list[Owner | None] = [
            *(volume.owner for volume in client.list_volumes(timeout=call_seconds(until))),
            *(snapshot.owner for snapshot in client.list_snapshots(timeout=call_seconds(until))),
        ]
    except (NodeRefused, NodeUnreachable) as error:
        raise NodeNotAvailable(
            f"storage node {node.persistent_id!r} does not list its contents: {error}"
        ) from error
    named = {node.pool.uuid: str(node.pool)} if node.pool else {}
    return [
        named.get(uuid, f"pool {uuid}") for uuid in sorted({*_uuids(held), *named} - {mine.uuid})
    ]


def _uuids(owners: Iterable[Owner | None]) -> set[str]:
    return {owner.pool for owner in owners if owner}
