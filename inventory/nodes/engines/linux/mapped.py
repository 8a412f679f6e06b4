"""The active devices, as dmsetup reports them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from inventory.nodes.engines.linux.names import split_mapped

SECTOR = 512
POOL_SUFFIX = "-tpool"


@dataclass(frozen=True)
class Thin:
    """An active thin volume. ``mapped``: the number of bytes that it has in its pool, including
    shared ones. ``highest``: nothing is mapped from this byte on.
    """

    size: int
    mapped: int
    highest: int


@dataclass(frozen=True)
class Pool:
    """An active thin pool. ``mode``: ``rw``, ``ro``, ``out_of_data_space`` or ``Fail``. Data is in
    chunks, metadata in blocks.
    """

    size: int
    mode: str
    needs_check: bool
    used_data: int
    total_data: int
    used_metadata: int
    total_metadata: int

    @property
    def is_writable(self) -> bool:
        return self.mode in {"rw", FULL} and not self.needs_check

    @property
    def has_failed(self) -> bool:
        return self.mode == FAIL


FULL = "out_of_data_space"
FAIL = "Fail"
FAILED = Pool(0, FAIL, True, 0, 0, 0, 0)


@dataclass(frozen=True)
class Mapped:
    """All active devices. ``thins``: by volume group and logical volume. ``pools``: by volume
    group. ``fronts``: the kind and size in bytes of the segments of all other devices.
    """

    thins: dict[tuple[str, str], Thin] = field(default_factory=dict)
    pools: dict[str, Pool] = field(default_factory=dict)
    fronts: dict[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)


def parse_status(text: str) -> Mapped:
    """Parse the output of ``dmsetup status``."""
    mapped = Mapped()
    for line in text.splitlines():
        name, _, rest = line.partition(": ")
        words = rest.split()
        if len(words) < 3:  # "No devices found"
            continue
        size, kind = int(words[1]) * SECTOR, words[2]
        of_lvm = split_mapped(name.removesuffix(POOL_SUFFIX))
        if kind == "thin" and of_lvm:
            thin = _thin(size, words[3:])
            if thin:
                mapped.thins[of_lvm] = thin
        elif kind == "thin-pool" and of_lvm:
            mapped.pools[of_lvm[0]] = _pool(size, words[3:])
        else:
            mapped.fronts[name] = (*mapped.fronts.get(name, ()), (kind, size))
    return mapped


def group_of(name: str) -> str:
    """Return the volume group of a device of LVM or of a front."""
    of_lvm = split_mapped(name.removesuffix(POOL_SUFFIX))
    return of_lvm[0] if of_lvm else name.partition("+")[0]


def _thin(size: int, words: Sequence[str]) -> Thin | None:
    """Parse a thin volume. None: the volume has failed."""
    if not words or not words[0].isdigit():
        return None
    highest = int(words[1]) + 1 if words[1].isdigit() else 0
    return Thin(size, int(words[0]) * SECTOR, highest * SECTOR)


def _pool(size: int, words: Sequence[str]) -> Pool:
    if len(words) < 5:
        return FAILED
    used_metadata, total_metadata = map(int, words[1].split("/"))
    used_data, total_data = map(int, words[2].split("/"))
    mode, needs_check = words[4], "needs_check" in words
    return Pool(size, mode, needs_check, used_data, total_data, used_metadata, total_metadata)
