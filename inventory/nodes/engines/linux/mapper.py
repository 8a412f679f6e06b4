"""The device mapper: it shows the active devices, and creates devices over several logical
volumes.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from inventory.nodes.engines.linux.kernel import CommandFailed, Kernel
from inventory.nodes.engines.linux.mapped import SECTOR, Mapped, group_of, parse_status
from inventory.nodes.engines.linux.names import MAPPER, POOL, mapped_name

SUSPENDED = "Suspended"
FLAKEY = "flakey"
LINEAR = "linear"
READ_ONLY = " 0 1 1 error_writes"
"""Parameters of a flakey segment that is always down, and then fails writes only. The kernel's
target opens devices for writing, and refuses one that is read-only.
"""


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Segment:
    """A part of a device over logical volumes: ``size`` bytes of the device ``name``."""

    name: str
    size: int


class Mapper:
    """Runs commands of dmsetup."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def read(self) -> Mapped:
        """Return the active devices. This waits for no drive.

        :raises CommandFailed, Stuck: they cannot be read.
        """
        return parse_status(await self._run("status", "--noflush"))

    async def make(self, name: str, segments: Sequence[Segment], *, is_read_only: bool) -> None:
        """Create the device over the segments. If it exists, change it, which stops its I/O for a
        moment only.
        """
        table = _table(segments, is_read_only=is_read_only)
        if name in (await self.read()).fronts:
            await self._run("reload", name, text=table)
            await self._run("resume", name)
        else:
            await self._run("create", name, text=table)

    async def remove(self, name: str) -> None:
        """Remove the device. It need not exist.

        :raises CommandFailed: it is in use.
        """
        if name in (await self.read()).fronts:
            await self._run("remove", name)

    async def resume_all(self, groups: Collection[str]) -> None:
        """Resume devices in the volume groups that an earlier process, or a killed command of LVM,
        left suspended.
        """
        for name, state in await self._listed("name,suspended"):
            if state == SUSPENDED and group_of(name) in groups:
                log.warning("device %s was suspended", name)
                await self.resume(name)

    async def is_over(self, group: str, number: str) -> bool:
        """Whether the volume group is over the drive with this device number, or is not active."""
        name = mapped_name(group, f"{POOL}_tdata")
        if [name] not in await self._listed("name"):
            return True
        return f"({number.replace(':', ', ')})" in await self._run("deps", name)

    async def remove_group(self, group: str) -> None:
        """Remove all devices of the volume group. Its drive has disappeared.

        :raises CommandFailed: one of them is in use.
        """
        while names := [one[0] for one in await self._listed("name") if group_of(one[0]) == group]:
            for name in names:
                with suppress(CommandFailed):
                    await self._run("remove", name)
            left = [one[0] for one in await self._listed("name")]
            if set(names) <= set(left):
                await self._run("remove", names[0])

    async def suspend(self, name: str) -> None:
        """Suspend the device. All completed writes are then in its segments, and nothing more is
        written.

        The command goes on if the caller is cancelled. This waits for its end, because a device
        that is not suspended yet cannot be resumed.
        """
        running = asyncio.ensure_future(self._run("suspend", name))
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.gather(running, return_exceptions=True)
            raise

    async def resume(self, name: str) -> None:
        """Resume the device. It need not be suspended."""
        await self._run("resume", name)

    async def _listed(self, fields: str) -> list[list[str]]:
        options = ("--columns", "--noheadings", "--separator", " ", "--options", fields)
        rows = [line.split() for line in (await self._run("info", *options)).splitlines()]
        return [row for row in rows if len(row) == 1 + fields.count(",")]  # "No devices found"

    async def _run(self, *arguments: str, text: str = "") -> str:
        command = ("dmsetup", *arguments)
        output = await self._kernel.run(*command, text=text)
        if output.code:
            raise CommandFailed(command, output.code, output.err)
        return output.out


def kinds(segments: Sequence[Segment], *, is_read_only: bool) -> tuple[tuple[str, int], ...]:
    """Return the entry of ``Mapped.fronts`` for a device over these segments."""
    kind = FLAKEY if is_read_only else LINEAR
    return tuple((kind, segment.size) for segment in segments)


def _table(segments: Sequence[Segment], *, is_read_only: bool) -> str:
    lines, start = [], 0
    for (kind, size), segment in zip(
        kinds(segments, is_read_only=is_read_only), segments, strict=True
    ):
        sectors = size // SECTOR
        more = READ_ONLY if is_read_only else ""
        device = f"{MAPPER}{segment.name} 0"
        lines.append(f"{start} {sectors} {kind} {device}{more}")
        start += sectors
    return "\n".join(lines) + "\n"
