"""Checks whether a drive reads as zeros after discards, so that it may be declared
``zeroes_on_unmap``.

NVMe allows a drive to ignore a deallocation or a part of it, whatever its field DLFEAT says about
later reads. So the check reads back discarded blocks, for several sizes, alignments and positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

KIB, MIB = 2**10, 2**20
BLOCK = 4096
SIZES = (BLOCK, 64 * KIB, MIB, 4 * MIB, 4 * MIB + BLOCK, 16 * MIB)
"""Bytes of one discard. SPDK frees clusters of 4 MiB, one by one or many at once."""
SHIFTS = (0, BLOCK)
"""Offsets in bytes from a multiple of 4 MiB."""
PLACES = 3
"""Each size is tried at the start, in the middle and at the end of the drive."""
HEAD_BYTES = MIB
SMALLEST_BYTES = 1024 * MIB


class NotUsable(Exception):
    """The drive cannot be checked. The text gives the reason."""


class Outcome(StrEnum):
    """The content of a discarded extent."""

    ZEROS = "zeros"
    KEPT = "kept"  # everything that was written
    MIXED = "mixed"  # other data, or the adjacent blocks changed


@dataclass(frozen=True)
class Extent:
    """A range of bytes that is discarded at once. The blocks before and after it are written and
    must not change.
    """

    offset: int
    length: int


class Drive(Protocol):
    """A drive without a cache. Reads and writes are in whole blocks; ``discard`` raises OSError."""

    size: int

    def read(self, offset: int, length: int) -> bytes: ...

    def write(self, offset: int, data: bytes) -> None: ...

    def discard(self, offset: int, length: int) -> None: ...


def check_drive(drive: Drive, *, destroys_data: bool = False) -> dict[Extent, Outcome]:
    """Write a pattern to each extent, discard it, and read it back at once, and again after all
    discards. At the end, the extents are overwritten with zeros.

    ``destroys_data``: check the drive even if it holds data.

    :raises NotUsable: the drive is too small, holds data, or cannot discard.
    :raises OSError: the drive failed.
    """
    extents = choose_extents(drive.size)
    if not destroys_data:
        _refuse_data(drive, extents)
    outcomes = {extent: _try(drive, extent) for extent in extents}
    again = {extent: _outcome(drive, extent) for extent in extents}
    for extent in extents:
        around = _around(extent)
        drive.write(around.offset, bytes(around.length))
    return {one: found if again[one] is found else Outcome.MIXED for one, found in outcomes.items()}


def choose_extents(size: int) -> tuple[Extent, ...]:
    """The extents to discard. They do not touch each other, or the first and last MiB.

    :raises NotUsable: the drive is too small.
    """
    if size < SMALLEST_BYTES:
        raise NotUsable(f"it has {size} bytes; the check needs {SMALLEST_BYTES}")
    extents = []
    room = sum(_room(length) for length in SIZES) * len(SHIFTS)
    for place in range(PLACES):
        at = HEAD_BYTES + (size - room - 2 * HEAD_BYTES - 4 * MIB) * place // (PLACES - 1)
        at = -(-at // (4 * MIB)) * 4 * MIB
        for length in SIZES:
            for shift in SHIFTS:
                extents.append(Extent(at + 4 * MIB + shift, length))
                at += _room(length)
    return tuple(extents)


def _room(length: int) -> int:
    """The space for an extent that starts 4 MiB after its start, in multiples of 4 MiB."""
    return (-(-length // (4 * MIB)) + 2) * 4 * MIB


def _refuse_data(drive: Drive, extents: Sequence[Extent]) -> None:
    ends = (Extent(0, HEAD_BYTES), Extent(drive.size // BLOCK * BLOCK - HEAD_BYTES, HEAD_BYTES))
    for one in (*ends, *map(_around, extents)):
        if drive.read(one.offset, one.length) != bytes(one.length):
            raise NotUsable(f"it contains data at or after byte {one.offset}")


def _try(drive: Drive, extent: Extent) -> Outcome:
    around = _around(extent)
    drive.write(around.offset, _pattern(around))
    try:
        drive.discard(extent.offset, extent.length)
    except OSError as error:
        drive.write(around.offset, bytes(around.length))
        raise NotUsable(f"it cannot discard: {error.strerror}") from error
    return _outcome(drive, extent)


def _outcome(drive: Drive, extent: Extent) -> Outcome:
    around = _around(extent)
    found, written = drive.read(around.offset, around.length), _pattern(around)
    if found == written:
        return Outcome.KEPT
    beside = written[:BLOCK], written[-BLOCK:]
    is_zeroed = found == beside[0] + bytes(extent.length) + beside[1]
    return Outcome.ZEROS if is_zeroed else Outcome.MIXED


def _around(extent: Extent) -> Extent:
    return Extent(extent.offset - BLOCK, extent.length + 2 * BLOCK)


def _pattern(extent: Extent) -> bytes:
    """Bytes without zeros, different in each block."""
    first = extent.offset // BLOCK
    return b"".join(
        (number | 1 << 63).to_bytes(8, "big").replace(b"\0", b"\x55") * (BLOCK // 8)
        for number in range(first, first + extent.length // BLOCK)
    )
