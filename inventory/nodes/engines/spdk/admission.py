"""Checks that an SSD can hold what is requested."""

from collections.abc import Iterable

from inventory.nodes.engines.spdk.lvols import MIB
from inventory.nodes.engines.spdk.lvstores import Stores
from inventory.nodes.engines.spdk.spdk_state import Lvstore, SpdkState
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import Piece, RefusalCode


async def check_space(
    stores: Stores,
    spdk_state: SpdkState,
    name: str,
    pieces: Iterable[Piece],
    before: Iterable[Piece] = (),
) -> None:
    """Check that the lvols ``name`` may allocate the space of ``pieces``, instead of that of
    ``before``.

    The caller holds the locks of the SSDs, and records the pieces before it releases them. It has
    just read the lvstores. The sizes of lvols are read only if there may be too little space.

    :raises NodeRefused: NO_SPACE, NOT_FOUND, UNAVAILABLE.
    """
    pieces, had = tuple(pieces), {piece.ssd_id: piece.allocated for piece in before}
    for piece in pieces:
        stores.get(spdk_state, piece.ssd_id)
    if _short(stores, name, pieces, had):
        await stores.count(piece.ssd_id for piece in pieces)
        if reason := _short(stores, name, pieces, had):
            raise NodeRefused(RefusalCode.NO_SPACE, reason)


def _short(stores: Stores, name: str, pieces: Iterable[Piece], had: dict[str, int]) -> str:
    """Return the SSD that has too little space, as text. Empty: none."""
    for piece in pieces:
        more = piece.allocated - had.get(piece.ssd_id, 0)
        free = stores.space(piece.ssd_id).free
        after = stores.space(piece.ssd_id, promised=(name, piece.allocated))
        if more > free or (more > 0 and not after.is_enough):
            return f"SSD {piece.ssd_id} has less than {more} bytes free"
    return ""


def check_sizes(
    stores: Stores, spdk_state: SpdkState, pieces: Iterable[Piece], block_size: int
) -> None:
    """Check that the size of each piece is a multiple of the cluster size and of the block size of
    its SSD. Hosts could not use any other size.

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
                f"the size of a sub-volume on SSD {piece.ssd_id} must be a multiple of "
                f"{_unit(lvstore)} bytes, not {piece.capacity}",
            )


def _unit(lvstore: Lvstore) -> int:
    """Return the unit of a piece in bytes. Clusters are powers of two, so the larger of the two
    sizes is a multiple of both.
    """
    return max(lvstore.cluster_size, MIB)
