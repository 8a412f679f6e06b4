"""The device mapper of the fake machine, and dmsetup. A restart of the machine loses all of it."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.linux.drives import Group, ThinVolume, fail

SECTOR = 512


class Device(Protocol):
    """A block device."""

    @property
    def size(self) -> int: ...
    def read(self, offset: int, length: int) -> bytes: ...
    def write(self, offset: int, data: bytes) -> None: ...
    def discard(self, offset: int, length: int) -> None: ...


@dataclass(eq=False)
class Target:
    """A segment of a device. ``of``: the group of the pool, the thin volume, or the device
    below.
    """

    kind: str
    size: int
    of: Any
    words: tuple[str, ...] = ()


@dataclass(eq=False)
class Mapped:
    """A device. ``openers``: the users that have it open. ``is_dead``: its drive was pulled.
    ``number``: the number of the drive under it.
    """

    name: str
    mapper: "FakeMapper"
    targets: list[Target]
    loaded: list[Target] | None = None
    is_suspended: bool = False
    is_dead: bool = False
    number: str = ""
    openers: set[Any] = field(default_factory=set)

    @property
    def size(self) -> int:
        return sum(target.size for target in self.targets)

    def read(self, offset: int, length: int) -> bytes:
        return b"".join(
            target.of.read(start, part) for target, start, part in self._parts(offset, length)
        )

    def write(self, offset: int, data: bytes) -> None:
        self._refuse_suspended()
        for target, start, part in self._parts(offset, len(data)):
            if target.kind == "flakey":
                raise fail(errno.EIO)
            if target.kind == "thin":
                volume, group = target.of, self.mapper.group_of(target.of)
                volume.write(start, data[:part], group.shared(volume))
            else:
                target.of.write(start, data[:part])
            data = data[part:]

    def discard(self, offset: int, length: int) -> None:
        self._refuse_suspended()
        for target, start, part in self._parts(offset, length):
            if target.kind == "flakey":
                raise fail(errno.EIO)
            if target.kind == "thin":
                volume, group = target.of, self.mapper.group_of(target.of)
                volume.discard(start, part, group.shared(volume))
            else:
                target.of.discard(start, part)

    def _refuse_suspended(self) -> None:
        assert not self.is_suspended, "the real device would wait; the test would, too"

    def _parts(self, offset: int, length: int) -> list[tuple[Target, int, int]]:
        if offset + length > self.size or self.is_dead:
            raise fail(errno.EIO)
        parts, first = [], 0
        for target in self.targets:
            start, end = max(offset, first), min(offset + length, first + target.size)
            if start < end:
                parts.append((target, start - first, end - start))
            first += target.size
        return parts


class FakeMapper:
    """The devices by name. Thin volumes exist here only if LVM has activated them."""

    def __init__(self) -> None:
        self.devices: dict[str, Mapped] = {}

    def make(self, name: str, targets: list[Target]) -> None:
        self.devices.setdefault(name, Mapped(name, self, targets))

    def is_open(self, name: str) -> bool:
        device = self.devices[name]
        above = [one for one in self.devices.values() if any(t.of is device for t in one.targets)]
        return bool(device.openers or above)

    def group_of(self, volume: ThinVolume) -> Group:
        groups: list[Group] = [
            target.of
            for device in self.devices.values()
            for target in device.targets
            if target.kind == "thin-pool"
        ]
        return next(one for one in groups if volume in one.volumes.values())

    def run(self, text: str, verb: str, *words: str) -> str:
        """Run dmsetup. :raises LookupError, OSError: it fails."""
        if verb in {"status", "info"}:
            return self._shown(verb, words)
        [name] = words
        if verb == "create":
            if name in self.devices:
                raise fail(errno.EBUSY, name)
            self.devices[name] = Mapped(name, self, self._table(text))
        elif verb == "reload":
            self.devices[name].loaded = self._table(text)
        elif verb == "remove":
            if self.is_open(name):
                raise fail(errno.EBUSY, name)
            del self.devices[name]
        elif verb == "deps":
            return f"1 dependencies\t: ({self.devices[name].number.replace(':', ', ')})"
        else:
            self._switch(self.devices[name], verb)
        return ""

    def _shown(self, verb: str, words: Sequence[str]) -> str:
        if verb == "status":
            assert words == ("--noflush",), "a hanging pool would hang it"
            return "\n".join(self._lines()) or "No devices found"
        assert words[:4] == ("--columns", "--noheadings", "--separator", " ")
        lines = []
        for name, one in self.devices.items():
            state = "Suspended" if one.is_suspended else "Active"
            lines.append(f"{name} {state}" if "suspended" in words[-1] else name)
        return "\n".join(lines) or "No devices found"

    def _switch(self, device: Mapped, verb: str) -> None:
        assert verb in {"suspend", "resume"}, verb
        device.is_suspended = verb == "suspend"
        if verb == "resume":
            device.targets, device.loaded = device.loaded or device.targets, None

    def _table(self, text: str) -> list[Target]:
        targets, expected = [], 0
        for line in text.splitlines():
            start, sectors, kind, path, *words = line.split()
            assert int(start) == expected, text
            expected += int(sectors)
            if kind == "flakey":
                assert words == ["0", "0", "1", "1", "error_writes"], line
            else:
                assert (kind, words) == ("linear", ["0"]), line
            below = self.devices[path.removeprefix("/dev/mapper/")]
            if int(sectors) * SECTOR > below.size:
                raise fail(errno.EINVAL, line)
            targets.append(Target(kind, int(sectors) * SECTOR, below, tuple(words)))
        return targets

    def _lines(self) -> list[str]:
        return [line for device in self.devices.values() for line in _lines(device)]


def _lines(device: Mapped) -> list[str]:
    lines, first = [], 0
    for target in device.targets:
        size = target.size
        if target.kind == "thin-pool":
            size = target.of.pool.total * target.of.pool.chunk_size
        words = _words(target)
        lines.append(f"{device.name}: {first} {size // SECTOR} {target.kind} {words}".rstrip())
        first += size // SECTOR
    return lines


def _words(target: Target) -> str:
    if target.kind == "thin":
        return _thin_words(target.of)
    if target.kind != "thin-pool":
        return ""
    group: Group = target.of
    pool = group.pool
    assert pool
    if pool.mode == "Fail":
        return "Fail"
    metadata = f"{group.metadata_used}/{pool.metadata_blocks}"
    check = "needs_check" if pool.needs_check else "-"
    discards = {"passdown": "discard_passdown", "nopassdown": "no_discard_passdown"}
    return (
        f"1 {metadata} {len(pool.data)}/{pool.total} - {pool.mode}"
        f" {discards.get(pool.discards, 'ignore_discard')} error_if_no_space {check} 1024"
    )


def _thin_words(volume: ThinVolume) -> str:
    if volume.pool.mode == "Fail":
        return "Fail"
    sectors = volume.pool.chunk_size // SECTOR
    places: Sequence[int] = sorted(volume.chunks)
    highest = str((places[-1] + 1) * sectors - 1) if places else "-"
    return f"{len(places) * sectors} {highest}"
