"""Whether a drive reads as zeros after discards: what may be declared ``zeroes_on_unmap``.

NVMe leaves a drive free to ignore a deallocation, or a part of it, whatever DLFEAT says of reads
after one. So what counts is what is read back, over sizes, alignments and places.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

KIB, MIB = 2**10, 2**20
BLOCK = 4096
SIZES = (BLOCK, 64 * KIB, MIB, 4 * MIB, 4 * MIB + BLOCK, 16 * MIB)
"""Bytes of one discard; SPDK frees clusters of 4 MiB, one by one or many at once."""
SHIFTS = (0, BLOCK)
"""From a multiple of 4 MiB."""
PLACES = 3
"""Of each size: at the beginning, in the middle and at the end."""
HEAD_BYTES = MIB
SMALLEST_BYTES = 1024 * MIB


class NotUsable(Exception):
    """Why the drive cannot be checked; nothing was written."""


class Outcome(StrEnum):
    ZEROS = "zeros"
    KEPT = "kept"  # all that was written
    MIXED = "mixed"  # neither, or what lay beside it is gone


@dataclass(frozen=True)
class Extent:
    """Bytes that are discarded at once; a block on either side is written, and stays."""

    offset: int
    length: int


class Drive(Protocol):
    """Reads and writes are of whole blocks and see no cache; ``discard`` raises OSError."""

    size: int

    def read(self, offset: int, length: int) -> bytes: ...

    def write(self, offset: int, data: bytes) -> None: ...

    def discard(self, offset: int, length: int) -> None: ...


def check_drive(drive: Drive, *, destroys_data: bool = False) -> dict[Extent, Outcome]:
    """Write a pattern, discard it and read it back, right away and when all was discarded; what was
    written is zeros at the end. ``destroys_data``: it may hold something.

    :raises NotUsable: it is too small, holds something, or cannot discard.
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
    """None touches another, or the first and last MiB.

    :raises NotUsable: the drive is too small.
    """
    if size < SMALLEST_BYTES:
        raise NotUsable(f"it has {size} bytes; a check needs {SMALLEST_BYTES}")
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
    """In multiples of 4 MiB, for an extent that begins 4 MiB after where its room does."""
    return (-(-length // (4 * MIB)) + 2) * 4 * MIB


def _refuse_data(drive: Drive, extents: Sequence[Extent]) -> None:
    ends = (Extent(0, HEAD_BYTES), Extent(drive.size // BLOCK * BLOCK - HEAD_BYTES, HEAD_BYTES))
    for one in (*ends, *map(_around, extents)):
        if drive.read(one.offset, one.length) != bytes(one.length):
            raise NotUsable(f"it holds something at byte {one.offset} or after it")


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
    """Of no zero byte, and different in each block."""
    first = extent.offset // BLOCK
    return b"".join(
        (number | 1 << 63).to_bytes(8, "big").replace(b"\0", b"\x55") * (BLOCK // 8)
        for number in range(first, first + extent.length // BLOCK)
    )
