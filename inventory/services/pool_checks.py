"""Whether a node is this pool's, and whether this database is as new as the node."""

from collections.abc import Iterable

from inventory.models import Recovery
from inventory.nodes.client import NodeClient, NodeRefused, NodeUnreachable
from inventory.nodes.wire import Node, Owner, PoolIdentity
from inventory.services.backend_checks import CALL_SECONDS, NodeNotAvailable
from inventory.services.generations import (
    generation_last,
    generation_lately,
    generations_raise,
)
from inventory.services.pool import database_doubted, pool_identity
from provisioner.common.writes import require_writes


class OtherPool(NodeNotAvailable):
    """The node, or something on it, belongs to another pool."""


def require_pool(client: NodeClient, node: Node, *, take_over: bool) -> None:
    """The node is free for this pool, or is to be taken over from another.

    :raises OtherPool: names both pools and how to take it over.
    :raises NodeNotAvailable: the node does not say what it holds.
    :raises WritesBarred: the node has seen what this database does not know.
    """
    mine = pool_identity()
    if node.pool and node.pool.uuid == mine.uuid:
        generation_compare(node)
        require_writes()
        return
    others = _other_pools(client, node, mine)
    if others and not take_over:
        raise OtherPool(
            f"storage node {node.persistent_id!r} belongs to, or holds volumes of, "
            f"{', '.join(others)}; this pool is {mine}. Remove it there, or add it with "
            f"takeOver = true: then it serves this pool alone, and what it holds of others stays "
            f"on it as orphans until an operator discards it"
        )
    generations_raise(above=node.newest_generation)


def generation_compare(node: Node) -> None:
    """Write down, where that is so, that a node of this pool has seen a greater generation than
    this database ever handed out: it is older than the node.
    """
    if not is_of_other_pool(node):
        _compare(node.persistent_id, node.newest_generation)


def probe_compare(persistent_id: str, newest_generation: int) -> None:
    """The same with what a node tells as it probes; 0: nothing. Where the node is not newer, each
    process asks the database once a second at most, however many nodes probe.
    """
    is_newer = newest_generation and newest_generation > generation_lately()
    if is_newer and persistent_id not in nodes_awaited():
        _compare(persistent_id, newest_generation)


def nodes_awaited() -> set[str]:
    """Ids of nodes without which an older database was put in order: they may have seen more."""
    return {node for recovery in Recovery.objects.all() for node in recovery.awaited}


def _compare(persistent_id: str, newest_generation: int) -> None:
    last = generation_last()
    if newest_generation > last:
        database_doubted(
            f"this database is older than storage node {persistent_id!r}, which has seen "
            f"generation {newest_generation}; the last of this database is {last}"
        )


def is_of_other_pool(node: Node) -> bool:
    """Somebody took it over."""
    return node.pool is not None and node.pool.uuid != pool_identity().uuid


def _other_pools(client: NodeClient, node: Node, mine: PoolIdentity) -> list[str]:
    """In words: the one that the node belongs to, and those of what it holds."""
    try:
        held: list[Owner | None] = [
            *(volume.owner for volume in client.list_volumes(timeout=CALL_SECONDS)),
            *(snapshot.owner for snapshot in client.list_snapshots(timeout=CALL_SECONDS)),
        ]
    except (NodeRefused, NodeUnreachable) as error:
        raise NodeNotAvailable(
            f"storage node {node.persistent_id!r} does not say what it holds: {error}"
        ) from error
    named = {node.pool.uuid: str(node.pool)} if node.pool else {}
    return [
        named.get(uuid, f"pool {uuid}") for uuid in sorted({*_uuids(held), *named} - {mine.uuid})
    ]


def _uuids(owners: Iterable[Owner | None]) -> set[str]:
    return {owner.pool for owner in owners if owner}
