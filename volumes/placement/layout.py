"""The layout of one replica on the SSDs of a node."""

from collections.abc import Sequence
from dataclasses import dataclass

from volumes.placement.request import Drive

PIECE_BYTES = 4 * 2**20
"""Sub-volumes are multiples of this size, because SPDK allocates whole clusters, by default of 4
MiB.
"""


@dataclass(frozen=True, slots=True)
class PlannedSubVolume:
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
    sub_volumes: Sequence[tuple[int, int]] = (),
) -> tuple[PlannedSubVolume, ...] | None:
    """Plan the sub-volumes of one replica. Returns None if the replica does not fit.

    By default the replica is one sub-volume on the SSD with the most free space. If that SSD is too
    small and ``allow_span`` is set, the replica is spread over as few SSDs as possible.
    ``sub_volumes`` prescribes the sub-volumes instead, as (capacity, claimed) in bytes.
    """
    by_space = sorted(drives, key=lambda drive: (-drive.free_bytes, drive.id))
    if sub_volumes:
        return _cut(by_space, sub_volumes)
    if by_space and by_space[0].free_bytes >= claimed_bytes:
        return (PlannedSubVolume(by_space[0], capacity_bytes, claimed_bytes),)
    return _span(by_space, capacity_bytes, claimed_bytes) if allow_span else None


def _cut(
    by_space: Sequence[Drive], sub_volumes: Sequence[tuple[int, int]]
) -> tuple[PlannedSubVolume, ...] | None:
    """Put each prescribed sub-volume on an SSD of its own, the largest claim on the SSD with the
    most free space.
    """
    by_claim = sorted(range(len(sub_volumes)), key=lambda place: -sub_volumes[place][1])
    drives = dict(zip(by_claim, by_space, strict=False))
    planned = tuple(
        PlannedSubVolume(drives[place], *sub_volume)
        for place, sub_volume in enumerate(sub_volumes)
        if place in drives and drives[place].free_bytes >= sub_volume[1]
    )
    return planned if len(planned) == len(sub_volumes) else None


def _span(
    by_space: Sequence[Drive], capacity_bytes: int, claimed_bytes: int
) -> tuple[PlannedSubVolume, ...] | None:
    """Fill one SSD after the other. The capacity of a thin replica is split in proportion to its
    reserved space.
    """
    sub_volumes: list[PlannedSubVolume] = []
    claim_left, capacity_left = claimed_bytes, capacity_bytes
    for drive in by_space:
        room = drive.free_bytes // PIECE_BYTES * PIECE_BYTES
        if room >= claim_left:
            return (*sub_volumes, PlannedSubVolume(drive, capacity_left, claim_left))
        capacity = capacity_bytes * room // claimed_bytes // PIECE_BYTES * PIECE_BYTES
        if not room or not capacity:
            return None
        sub_volumes.append(PlannedSubVolume(drive, capacity, room))
        claim_left, capacity_left = claim_left - room, capacity_left - capacity
    return None
