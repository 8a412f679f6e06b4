"""Takes an SSD into use: finds or creates its volume group and thin pool."""

import json
import logging
from dataclasses import dataclass

from inventory.nodes.engines.linux.config import SsdConfig
from inventory.nodes.engines.linux.kernel import CommandFailed, Kernel
from inventory.nodes.engines.linux.lvm import Lvm, VolumeGroup
from inventory.nodes.engines.linux.mapped import FAILED, Mapped, Thin
from inventory.nodes.engines.linux.mapper import Mapper
from inventory.nodes.engines.linux.names import POOL, mapped_name, vg_name

KIB, MIB, GIB = 2**10, 2**20, 2**30
SMALLEST_CHUNK = 64 * KIB
LEAST_METADATA = 16 * MIB
MOST_METADATA = 4 * GIB
METADATA_PER_CHUNK = 128
"""Bytes. A mapping takes 48 to 64; snapshots that diverge map more than the pool has."""
HEAD_BYTES = MIB

log = logging.getLogger(__name__)


class NotUsable(Exception):
    """The SSD cannot be used. The text gives the reason."""


class NotReady(NotUsable):
    """The SSD cannot be used now. Another attempt may succeed."""


@dataclass(frozen=True)
class Store:
    """An SSD that is in use. Sizes are in bytes."""

    ssd: SsdConfig
    vg: str
    vg_uuid: str
    extent_size: int
    chunk_size: int
    block_size: int

    def mapped_name(self, lv: str) -> str:
        """Return the name of one of its logical volumes in the device mapper."""
        return mapped_name(self.vg, lv)

    def thin(self, mapped: Mapped, lv: str) -> Thin | None:
        """One of its active thin volumes, or None."""
        return mapped.thins.get((self.vg, lv))


class Opening:
    """Takes SSDs into use. It never writes to a device with content, unless the configuration says
    ``format``.
    """

    def __init__(self, kernel: Kernel, lvm: Lvm, mapper: Mapper) -> None:
        self._kernel = kernel
        self._lvm = lvm
        self._mapper = mapper

    async def open(self, ssd: SsdConfig, known: str | None) -> Store:
        """Activate the volume group on the SSD. On a new SSD, create a thin pool. ``known``: the
        UUID of the volume group that the node created on it before.

        :raises NotUsable: it is missing, or must not be overwritten.
        :raises NotReady, CommandFailed, OSError: it cannot be used now.
        :raises Stuck: it hangs.
        """
        if not await self._kernel.exists(ssd.device):
            raise NotUsable(f"{ssd.device} does not exist")
        await self._drop_former(ssd)
        group = await self._lvm.volume_group(ssd)
        if not _is_ours(ssd, group, known):
            await self._refuse_content(ssd, group, known)
            group = await self._make_group(ssd, group)
        assert group is not None, "it is ours, or was made"
        chunk_size = await self._open_pool(ssd, group, known)
        output = await self._command("blockdev", "--getss", ssd.device)
        store = Store(ssd, group.name, group.uuid, group.extent_size, chunk_size, int(output))
        pool = (await self._mapper.read()).pools.get(group.name, FAILED)
        if pool.has_failed:
            raise NotReady(f"the thin pool of {group.name} has failed")
        if not pool.is_writable:
            log.error("SSD %s: its thin pool cannot be written: %s", ssd.id, pool)
        return store

    async def _drop_former(self, ssd: SsdConfig) -> None:
        """Remove the devices over the former drive. For the kernel, a drive that was pulled and
        inserted again is another drive.

        :raises NotReady: they are in use.
        """
        number = await self._command("stat", "--dereference", "--format=%Hr:%Lr", ssd.device)
        group = vg_name(ssd.id)
        if await self._mapper.is_over(group, number):
            return
        log.warning("SSD %s is back as device %s", ssd.id, number)
        try:
            await self._mapper.remove_group(group)
        except CommandFailed as error:
            raise NotReady(f"it is back, but {error}: restart the server") from error

    async def _open_pool(self, ssd: SsdConfig, group: VolumeGroup, known: str | None) -> int:
        """Create the pool if it is missing, and activate the volume group. Returns the chunk
        size.
        """
        there = await self._lvm.logical_volumes(ssd, group.name)
        if POOL not in there:
            if known or there:
                raise NotUsable(f"the volume group {group.name} has no thin pool")
            chunk_size, metadata = choose_sizes(group.free)
            await self._lvm.create_pool(ssd, group, chunk_size=chunk_size, metadata=metadata)
            there = await self._lvm.logical_volumes(ssd, group.name)
        await self._lvm.activate(ssd, group.name, len(there))
        if not there[POOL].fails_when_full:
            await self._lvm.fail_when_full(ssd, group.name)
        return there[POOL].chunk_size

    async def _refuse_content(
        self, ssd: SsdConfig, group: VolumeGroup | None, known: str | None
    ) -> None:
        """Check that the SSD may be used.

        :raises NotUsable: the SSD must not be overwritten.
        :raises NotReady: its volume group cannot be read, or is gone.
        """
        if known:
            there = group.uuid if group else "none"
            raise (NotUsable if group else NotReady)(
                f"it has the volume group {there}, not {known}, which the node created on it"
            )
        if ssd.format:
            return
        if group:
            raise NotUsable(f"it contains the volume group {group.name} ({group.uuid})")
        shown = await self._command("wipefs", "--json", "--no-act", ssd.device)
        found = {one["type"] for one in json.loads(shown or "{}").get("signatures", ())}
        if found:
            raise NotUsable(f"it contains {', '.join(sorted(found))}")
        head = await self._kernel.run("cmp", "--bytes", str(HEAD_BYTES), ssd.device, "/dev/zero")
        if head.code:
            raise (NotUsable if head.code == 1 else NotReady)(
                f"its first {HEAD_BYTES} bytes are not empty: {head.err.strip()}"
            )

    async def _make_group(self, ssd: SsdConfig, old: VolumeGroup | None) -> VolumeGroup | None:
        log.warning("SSD %s: creating a volume group on %s", ssd.id, ssd.device)
        if old:
            await self._lvm.run(ssd, "vgchange", "--activate", "n", old.name)
        if ssd.format:
            await self._command("wipefs", "--all", ssd.device)
        await self._lvm.create_volume_group(ssd, vg_name(ssd.id))
        return await self._lvm.volume_group(ssd)

    async def _command(self, *command: str) -> str:
        output = await self._kernel.run(*command)
        if output.code:
            raise CommandFailed(command, output.code, output.err)
        return output.out.strip()


def choose_sizes(size: int) -> tuple[int, int]:
    """Return the chunk size and the size of the metadata in bytes, for a thin pool of about
    ``size`` bytes. Small chunks are zeroed and copied faster; large chunks need less metadata.
    """
    chunk_size = SMALLEST_CHUNK
    while size // chunk_size * METADATA_PER_CHUNK > MOST_METADATA:
        chunk_size *= 2
    return chunk_size, max(LEAST_METADATA, size // chunk_size * METADATA_PER_CHUNK)


def _is_ours(ssd: SsdConfig, group: VolumeGroup | None, known: str | None) -> bool:
    """Whether the node created the volume group, even if it crashed before it recorded that."""
    if group is None:
        return False
    is_half_made = not known and not ssd.format and group.name == vg_name(ssd.id)
    return group.uuid == known or is_half_made
