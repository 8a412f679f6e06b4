"""Checks that an SSD can hold what is requested."""

from collections.abc import Iterable

from inventory.nodes.engines.linux.mapped import Mapped, Pool
from inventory.nodes.engines.linux.stores import Stores
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import Piece, RefusalCode

METADATA_PERCENT = 80
"""A pool whose metadata are fuller than this gets no more volumes and snapshots."""


def check_space(
    stores: Stores,
    mapped: Mapped,
    lv: str,
    pieces: Iterable[Piece],
    before: Iterable[Piece] = (),
) -> None:
    """Check that the logical volumes ``lv`` may allocate the space of ``pieces``, instead of that
    of ``before``.

    The caller holds the locks of the SSDs, and records the pieces before it releases them.

    :raises NodeRefused: NO_SPACE, NOT_FOUND; UNAVAILABLE: the SSD is absent, or its pool cannot be
        written.
    """
    pieces, had = tuple(pieces), {piece.ssd_id: piece.allocated for piece in before}
    for piece in pieces:
        stores.get(piece.ssd_id)
    for piece in pieces:
        store = stores.get(piece.ssd_id)
        more = piece.allocated - had.get(piece.ssd_id, 0)
        space = stores.space(mapped, store)
        after = stores.space(mapped, store, promised={lv: piece.allocated})
        if more > space.free or (more > 0 and not after.is_enough):
            raise NodeRefused(
                RefusalCode.NO_SPACE,
                f"SSD {piece.ssd_id} has less than {more} bytes free",
            )
        _refuse_full_pool(piece.ssd_id, stores.pool(mapped, store))


def check_sizes(stores: Stores, pieces: Iterable[Piece], block_size: int) -> None:
    """Check that the size of each piece is a multiple of LVM's allocation unit and of the block
    size of its SSD.

    :raises NodeRefused: INVALID, NOT_FOUND, UNAVAILABLE.
    """
    for piece in pieces:
        store = stores.get(piece.ssd_id)
        if block_size != store.block_size:
            raise NodeRefused(
                RefusalCode.INVALID,
                f"SSD {piece.ssd_id} has blocks of {store.block_size} bytes, not {block_size}",
            )
        if piece.capacity % store.extent_size:
            raise NodeRefused(
                RefusalCode.INVALID,
                f"the size of a sub-volume on SSD {piece.ssd_id} must be a multiple of "
                f"{store.extent_size} bytes, not {piece.capacity}",
            )


def _refuse_full_pool(ssd_id: str, pool: Pool) -> None:
    """:raises NodeRefused: UNAVAILABLE: the pool cannot be written; NO_SPACE: it is full."""
    if not pool.is_writable:
        raise NodeRefused(
            RefusalCode.UNAVAILABLE,
            f"the thin pool of SSD {ssd_id} cannot be written: it is {pool.mode}"
            f"{', and needs a check' if pool.needs_check else ''}",
        )
    if pool.used_data >= pool.total_data:
        raise NodeRefused(RefusalCode.NO_SPACE, f"the thin pool of SSD {ssd_id} is full")
    if pool.used_metadata * 100 >= pool.total_metadata * METADATA_PERCENT:
        raise NodeRefused(
            RefusalCode.NO_SPACE,
            f"SSD {ssd_id}: {pool.used_metadata} of {pool.total_metadata} blocks of its pool's "
            "metadata are used, so it accepts no more volumes and snapshots",
        )
