"""How one copy lies on the SSDs of a node."""

from collections.abc import Sequence
from dataclasses import dataclass

from volumes.placement.request import Drive

PIECE_BYTES = 4 * 2**20
"""Pieces are multiples of it: SPDK has whole clusters, of 4 MiB unless told otherwise."""


@dataclass(frozen=True, slots=True)
class PlannedPiece:
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
    """One piece on the SSD with most free space; where that is too small and spanning is allowed,
    pieces over as few SSDs as possible. ``pieces``: these, by capacity and claim. ``None``: it does
    not fit.
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
    """Each on an SSD of its own: what takes most where most is free."""
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
    """Fills SSD by SSD; a thin copy's capacity is split in proportion to its reserved space."""
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
