"""Whether an SSD can hold what is asked."""

from collections.abc import Iterable

from inventory.nodes.engines.spdk.lvols import MIB
from inventory.nodes.engines.spdk.lvstores import Stores
from inventory.nodes.engines.spdk.spdk_state import Lvstore, SpdkState
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import Piece, RefusalCode


def check_space(
    stores: Stores,
    spdk_state: SpdkState,
    name: str,
    pieces: Iterable[Piece],
    before: Iterable[Piece] = (),
) -> None:
    """The lvols ``name`` may allocate what the pieces say. To be recorded before the SSDs' locks
    are given up.

    :raises NodeRefused: NO_SPACE, NOT_FOUND, UNAVAILABLE.
    """
    pieces, had = tuple(pieces), {piece.ssd_id: piece.allocated for piece in before}
    for piece in pieces:
        stores.get(spdk_state, piece.ssd_id)
    for piece in pieces:
        more = piece.allocated - had.get(piece.ssd_id, 0)
        free = stores.space(spdk_state, piece.ssd_id).free
        after = stores.space(spdk_state, piece.ssd_id, promised={name: piece.allocated})
        if more > free or (more > 0 and not after.is_enough):
            raise NodeRefused(
                RefusalCode.NO_SPACE, f"SSD {piece.ssd_id} has {free} bytes free, not {more}"
            )


def check_sizes(
    stores: Stores, spdk_state: SpdkState, pieces: Iterable[Piece], block_size: int
) -> None:
    """A host sees whole clusters, in blocks of the SSD: nothing else can be had.

    :raises NodeRefused: INVALID, NOT_FOUND, UNAVAILABLE.
    """
    for piece in pieces:
        lvstore = stores.get(spdk_state, piece.ssd_id)
        if block_size != lvstore.block_size:
            raise NodeRefused(
                RefusalCode.INVALID,
                f"SSD {piece.ssd_id} has blocks of {lvstore.block_size} bytes, not {block_size}",
            )
        if piece.capacity % _unit(lvstore):
            raise NodeRefused(
                RefusalCode.INVALID,
                f"a piece on SSD {piece.ssd_id} can have multiples of {_unit(lvstore)} bytes,"
                f" not {piece.capacity}",
            )


def _unit(lvstore: Lvstore) -> int:
    """Clusters are powers of two."""
    return max(lvstore.cluster_size, MIB)
