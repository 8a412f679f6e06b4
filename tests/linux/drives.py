"""Drives of the fake machine, with their thin pools. They survive a restart of the machine."""

import errno
import itertools
import os
import uuid as uuids
from dataclasses import dataclass, field

EXTENT = 4 * 2**20
METADATA_BLOCK = 4096
BYTES_PER_MAPPING = 64
BYTES_PER_VOLUME = 344
"""In the text that describes a volume group."""
_numbers = itertools.count(1)


def fail(number: int, what: str = "") -> OSError:
    """Raise an error of the kernel."""
    return OSError(number, os.strerror(number), what)


@dataclass
class ThinPool:
    """A thin pool. ``data``: the chunks in use, by number. ``mode``: as dmsetup shows it.
    ``has_spare``: there is space for a repair of its metadata. ``discards``: what happens to those
    of hosts.
    """

    chunk_size: int
    total: int
    metadata_blocks: int
    mode: str = "rw"
    needs_check: bool = False
    is_broken: bool = False
    fails_when_full: bool = False
    has_spare: bool = True
    discards: str = "passdown"
    data: dict[int, bytes] = field(default_factory=dict)

    def allocate(self, content: bytes) -> int:
        """:raises OSError: ENOSPC: there is no free chunk; EIO: the pool cannot be written."""
        if self.mode != "rw":
            raise fail(errno.EIO)
        if len(self.data) >= self.total:
            self.mode = "out_of_data_space"
            raise fail(errno.ENOSPC)
        number = next(_numbers)
        self.data[number] = content
        return number


@dataclass(eq=False)
class ThinVolume:
    """A thin logical volume. ``chunks``: the chunk in the pool of each of its mapped chunks.
    ``skips_activation``: it is activated only by commands that ask for such volumes.
    """

    name: str
    size: int
    pool: ThinPool
    chunks: dict[int, int] = field(default_factory=dict)
    skips_activation: bool = False

    def read(self, offset: int, length: int) -> bytes:
        parts = []
        for place, start, end in self._parts(offset, length):
            number = self.chunks.get(place)
            data = self.pool.data[number] if number else bytes(self.pool.chunk_size)
            parts.append(data[start:end])
        return b"".join(parts)

    def write(self, offset: int, data: bytes, shared: set[int]) -> None:
        """``shared``: chunks of the pool that other volumes use, too."""
        for place, start, end in self._parts(offset, len(data)):
            number = self.chunks.get(place)
            old = self.pool.data[number] if number else bytes(self.pool.chunk_size)
            new = old[:start] + data[: end - start] + old[end:]
            data = data[end - start :]
            if number and number not in shared:
                self.pool.data[number] = new
            else:
                self.chunks[place] = self.pool.allocate(new)

    def discard(self, offset: int, length: int, shared: set[int]) -> None:
        """Unmap the whole chunks in the range. Chunks that are only partly in it stay unchanged."""
        if self.pool.discards == "ignore":
            return
        for place, start, end in self._parts(offset, length):
            if end - start == self.pool.chunk_size and place in self.chunks:
                number = self.chunks.pop(place)
                if number not in shared:
                    del self.pool.data[number]

    def _parts(self, offset: int, length: int) -> list[tuple[int, int, int]]:
        if offset + length > self.size:
            raise fail(errno.EIO)
        size, parts = self.pool.chunk_size, []
        while length:
            place, start = divmod(offset, size)
            end = min(size, start + length)
            parts.append((place, start, end))
            offset, length = offset + end - start, length - (end - start)
        return parts


@dataclass
class Group:
    """A volume group on one drive. ``most_volumes``: as far as its text has space.
    ``is_autoactivated``: the machine activates its volumes at its start.
    """

    name: str
    uuid: str
    extents: int
    most_volumes: int
    used: int = 0
    is_autoactivated: bool = True
    pool: ThinPool | None = None
    volumes: dict[str, ThinVolume] = field(default_factory=dict)

    def shared(self, volume: ThinVolume) -> set[int]:
        """Return the chunks that other volumes use, too."""
        return {
            number
            for other in self.volumes.values()
            if other is not volume
            for number in other.chunks.values()
        }

    def remove(self, volume: ThinVolume) -> None:
        del self.volumes[volume.name]
        for number in set(volume.chunks.values()) - self.shared(volume):
            del volume.pool.data[number]

    @property
    def metadata_used(self) -> int:
        mappings = sum(len(one.chunks) for one in self.volumes.values())
        return 10 + mappings * BYTES_PER_MAPPING // METADATA_BLOCK


@dataclass(eq=False)
class Drive:
    """A drive. ``signatures``: what wipefs finds on it. ``is_there``: it is plugged in, as the
    device ``number``. ``hangs``: nothing that reaches it ever ends. ``turns``: of the event loop
    that a command for it takes.
    """

    path: str
    size: int
    block_size: int = 4096
    signatures: list[str] = field(default_factory=list)
    has_data: bool = False
    group: Group | None = None
    is_there: bool = True
    number: str = "259:1"
    hangs: bool = False
    turns: int = 1

    def make_group(self, name: str, metadata: int = 2**20) -> None:
        """``metadata``: bytes for its text; the default is LVM's."""
        extents = (self.size - metadata) // EXTENT
        most_volumes = metadata // 2 // BYTES_PER_VOLUME
        self.group = Group(name, str(uuids.uuid4()), extents, most_volumes)
        self.signatures, self.has_data = ["LVM2_member"], True
