"""How one replica lies on the SSDs of a node."""

from collections.abc import Sequence
from dataclasses import dataclass

from volumes.placement.request import Drive

PIECE_BYTES = 4 * 2**20
"""Sub-volumes are multiples of this: SPDK allocates whole clusters, by default of 4 MiB."""


@dataclass(frozen=True, slots=True)
class PlannedPiece:
    """A sub-volume to create on an SSD."""

    drive: Drive
    capacity_bytes: int
    claimed_bytes: int


def lay_out(
    drives: Sequence[Drive],
    *,
    capacity_bytes: int,
    claimed_bytes: int,
    allow_span: bool,
    pieces: Sequence[tuple[int, int]] = (),
) -> tuple[PlannedPiece, ...] | None:
    """Plan the sub-volumes of one replica; None if it does not fit.

    It is one sub-volume on the SSD with most free space. If that is too small and ``allow_span`` is
    set, it is spread over as few SSDs as possible. ``pieces`` prescribes the sub-volumes instead,
    as (capacity, claimed) in bytes.
    """
    by_space = sorted(drives, key=lambda drive: (-drive.free_bytes, drive.id))
    if pieces:
        return _cut(by_space, pieces)
    if by_space and by_space[0].free_bytes >= claimed_bytes:
        return (PlannedPiece(by_space[0], capacity_bytes, claimed_bytes),)
    return _span(by_space, capacity_bytes, claimed_bytes) if allow_span else None


def _cut(
    by_space: Sequence[Drive], pieces: Sequence[tuple[int, int]]
) -> tuple[PlannedPiece, ...] | None:
    """Put each prescribed sub-volume on an SSD of its own: the largest claim where most is free."""
    by_claim = sorted(range(len(pieces)), key=lambda place: -pieces[place][1])
    drives = dict(zip(by_claim, by_space, strict=False))
    planned = tuple(
        PlannedPiece(drives[place], *piece)
        for place, piece in enumerate(pieces)
        if place in drives and drives[place].free_bytes >= piece[1]
    )
    return planned if len(planned) == len(pieces) else None


def _span(
    by_space: Sequence[Drive], capacity_bytes: int, claimed_bytes: int
) -> tuple[PlannedPiece, ...] | None:
    """Fill SSD by SSD. The capacity of a thin replica is split in proportion to its
    reserved space.
    """
    pieces: list[PlannedPiece] = []
    claim_left, capacity_left = claimed_bytes, capacity_bytes
    for drive in by_space:
        room = drive.free_bytes // PIECE_BYTES * PIECE_BYTES
        if room >= claim_left:
            return (*pieces, PlannedPiece(drive, capacity_left, claim_left))
        capacity = capacity_bytes * room // claimed_bytes // PIECE_BYTES * PIECE_BYTES
        if not room or not capacity:
            return None
        pieces.append(PlannedPiece(drive, capacity, room))
        claim_left, capacity_left = claim_left - room, capacity_left - capacity
    return None
