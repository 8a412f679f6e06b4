"""The SSDs of a node, each with a volume group and one thin pool."""

import asyncio
import json
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from inventory.nodes.engines.linux.config import LinuxConfig, SsdConfig
from inventory.nodes.engines.linux.engine_state import EngineState
from inventory.nodes.engines.linux.kernel import CommandFailed, Kernel, Stuck
from inventory.nodes.engines.linux.lvm import Lvm, VolumeGroup
from inventory.nodes.engines.linux.mapper import Mapped, Mapper, Pool, Thin
from inventory.nodes.engines.linux.names import POOL, mapped_name, vg_name, volume_name
from inventory.nodes.engines.linux.reservations import Use, count_space
from inventory.nodes.engines.space import Space
from inventory.nodes.engines.ssd_locks import SsdLocks
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import Piece, RefusalCode, Ssd

KIB, MIB, GIB = 2**10, 2**20, 2**30
SMALLEST_CHUNK = 64 * KIB
LEAST_METADATA = 16 * MIB
MOST_METADATA = 4 * GIB
METADATA_PER_CHUNK = 128
"""Bytes. A mapping takes 48 to 64; snapshots that diverge map more than the pool has."""
METADATA_PERCENT = 80
"""A pool whose metadata are fuller than this gets no more volumes and snapshots."""
RETRY_SECONDS = 60.0
HEAD_BYTES = MIB

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Store:
    """A usable SSD. Sizes are in bytes."""

    ssd: SsdConfig
    vg: str
    extent_size: int
    chunk_size: int
    block_size: int

    def mapped_name(self, lv: str) -> str:
        """The name of one of its logical volumes in the device mapper."""
        return mapped_name(self.vg, lv)

    def thin(self, mapped: Mapped, lv: str) -> Thin | None:
        """One of its active thin volumes, or None."""
        return mapped.thins.get((self.vg, lv))


class Stores:
    """A device that is missing, hangs, or holds something else is absent: it is logged and left
    alone.
    """

    def __init__(self, kernel: Kernel, config: LinuxConfig, engine_state: EngineState) -> None:
        self._kernel = kernel
        self._ssds = {ssd.id: ssd for ssd in config.ssds}
        self._engine_state = engine_state
        self.lvm = Lvm(kernel)
        self.mapper = Mapper(kernel)
        self.locks = SsdLocks()
        self._stores: dict[str, Store] = {}
        self._retry_at: dict[str, float] = {}
        self.absent: frozenset[str] = frozenset()

    async def open(self) -> None:
        """Find all SSDs, activate what is on them, and create pools on new ones."""
        self._stores.clear()
        self._retry_at.clear()
        self.absent = frozenset()
        ssds = list(self._ssds.values())
        reasons = await asyncio.gather(*map(self._reason, ssds))
        for ssd, reason in zip(ssds, reasons, strict=True):
            if reason:
                log.error("SSD %s cannot be used: %s", ssd.id, reason)
                self._stores.pop(ssd.id, None)
                self.absent |= {ssd.id}

    async def devices(self) -> tuple[tuple[str, bool, bool, bool], ...]:
        """For each SSD: is its device there, does its pool work, and is a retry of one that hung
        due?
        """
        mapped = await self.mapper.read()
        now = time.monotonic()
        return tuple(
            [
                (
                    ssd.id,
                    await self._kernel.exists(ssd.device),
                    self._works(mapped, ssd.id),
                    self._retry_at.get(ssd.id, now + 1) <= now,
                )
                for ssd in self._ssds.values()
            ]
        )

    def find(self, ssd_id: str) -> Store | None:
        """None: the SSD is absent or not one of this node."""
        return self._stores.get(ssd_id)

    def get(self, ssd_id: str) -> Store:
        """The store of the SSD.

        :raises NodeRefused: NOT_FOUND: not an SSD of this node; UNAVAILABLE: it is absent.
        """
        if ssd_id not in self._ssds:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"SSD {ssd_id} is not on this node")
        found = self.find(ssd_id)
        if found is None:
            raise NodeRefused(RefusalCode.UNAVAILABLE, f"SSD {ssd_id} is missing")
        return found

    def refuse_missing(self, ssd_ids: Iterable[str]) -> None:
        """Check that none of these SSDs is absent. An SSD that was removed from the configuration
        is no error: its content is gone.

        :raises NodeRefused: UNAVAILABLE
        """
        for ssd_id in ssd_ids:
            if ssd_id in self._ssds:
                self.get(ssd_id)

    def all(self) -> tuple[Store, ...]:
        """All usable SSDs."""
        return tuple(self._stores.values())

    def are_there(self, mapped: Mapped, lv: str, pieces: Iterable[Piece]) -> bool:
        """Whether each piece has its logical volume, and it is active."""
        stores = [self.find(piece.ssd_id) for piece in pieces]
        return all(store and store.thin(mapped, lv) for store in stores)

    def refuse_lost(self, mapped: Mapped, what: str, lv: str, pieces: Iterable[Piece]) -> None:
        """Check that each piece has its logical volume.

        :raises NodeRefused: NOT_FOUND: a piece has none; UNAVAILABLE: an SSD is missing.
        """
        for piece in pieces:
            if self.get(piece.ssd_id).thin(mapped, lv) is None:
                raise NodeRefused(
                    RefusalCode.NOT_FOUND, f"{what} is lost: SSD {piece.ssd_id} has no {lv}"
                )

    async def remove_lv(self, store: Store, lv: str) -> None:
        """Remove a logical volume. It may be gone already.

        :raises CommandFailed: it is in use.
        """
        if lv in await self.lvm.logical_volumes(store.ssd, store.vg):
            await self.lvm.remove(store.ssd, store.vg, lv)

    def ssds(self, mapped: Mapped) -> tuple[Ssd, ...]:
        """All SSDs that are not absent."""
        return tuple(self._shown(mapped, store) for store in self.all())

    def check_space(
        self, mapped: Mapped, lv: str, pieces: Iterable[Piece], before: Iterable[Piece] = ()
    ) -> None:
        """Check that the logical volumes ``lv`` may allocate what ``pieces`` say, instead of
        ``before``. The caller holds the locks of the SSDs, and records the pieces before it
        releases them.

        :raises NodeRefused: NO_SPACE, NOT_FOUND; UNAVAILABLE: the SSD is absent, or its pool cannot
            be written.
        """
        pieces, had = tuple(pieces), {piece.ssd_id: piece.allocated for piece in before}
        for piece in pieces:
            self.get(piece.ssd_id)
        for piece in pieces:
            store = self.get(piece.ssd_id)
            more = piece.allocated - had.get(piece.ssd_id, 0)
            space = self.space(mapped, store)
            after = self.space(mapped, store, promised={lv: piece.allocated})
            if more > space.free or (more > 0 and not after.is_enough):
                raise NodeRefused(
                    RefusalCode.NO_SPACE,
                    f"SSD {piece.ssd_id} has {space.free} bytes free, not {more}",
                )
            _refuse_full_pool(piece.ssd_id, self._pool(mapped, store))

    def check_sizes(self, pieces: Iterable[Piece], block_size: int) -> None:
        """Check that each piece is a multiple of what LVM allocates, in the block size of its SSD.

        :raises NodeRefused: INVALID, NOT_FOUND, UNAVAILABLE.
        """
        for piece in pieces:
            store = self.get(piece.ssd_id)
            if block_size != store.block_size:
                raise NodeRefused(
                    RefusalCode.INVALID,
                    f"SSD {piece.ssd_id} has blocks of {store.block_size} bytes, not {block_size}",
                )
            if piece.capacity % store.extent_size:
                raise NodeRefused(
                    RefusalCode.INVALID,
                    f"a piece on SSD {piece.ssd_id} can have multiples of {store.extent_size}"
                    f" bytes, not {piece.capacity}",
                )

    def space(
        self, mapped: Mapped, store: Store, *, promised: dict[str, int] | None = None
    ) -> Space:
        """The space of the SSD. ``promised``: bytes by logical volume that replace the recorded
        allocations.
        """
        promises = self._engine_state.promises(store.ssd.id, volume_name) | (promised or {})
        pool = self._pool(mapped, store)
        use = Use(
            capacity=pool.size,
            chunk_size=store.chunk_size,
            used=pool.used_data * store.chunk_size,
            mapped={lv: one.mapped for (vg, lv), one in mapped.thins.items() if vg == store.vg},
            family=self._engine_state.families,
        )
        return count_space(use, promises)

    def _shown(self, mapped: Mapped, store: Store) -> Ssd:
        space = self.space(mapped, store)
        return Ssd(
            ssd_id=store.ssd.id,
            name=store.ssd.name,
            capacity=space.capacity,
            free=space.free if self._pool(mapped, store).is_writable else 0,
            outgrown=space.outgrown,
            block_sizes=(store.block_size,),
        )

    def _works(self, mapped: Mapped, ssd_id: str) -> bool:
        store = self._stores.get(ssd_id)
        return store is not None and self._pool(mapped, store).mode != "Fail"

    def _pool(self, mapped: Mapped, store: Store) -> Pool:
        return mapped.pools.get(store.vg, Pool(0, "Fail", True, 0, 0, 0, 0))

    async def _reason(self, ssd: SsdConfig) -> str:
        """Why the SSD cannot be used; empty: it can."""
        try:
            return await self._open(ssd)
        except (CommandFailed, OSError) as error:
            return str(error)
        except Stuck as error:
            self._retry_at[ssd.id] = time.monotonic() + RETRY_SECONDS
            return str(error)

    async def _open(self, ssd: SsdConfig) -> str:
        if not await self._kernel.exists(ssd.device):
            return f"there is no {ssd.device}"
        group = await self.lvm.volume_group(ssd)
        there = await self.lvm.logical_volumes(ssd, group.name) if group else {}
        known = self._engine_state.stores.get(ssd.id)
        is_ours = group is not None and (
            group.uuid == known or (not known and not ssd.format and group.name == vg_name(ssd.id))
        )
        if not is_ours:
            if reason := await self._keeps_from_making(ssd, group):
                return reason
            group, there = await self._make_group(ssd, group), {}
        assert group is not None
        if POOL not in there:
            if known or there:
                return f"the volume group {group.name} has no thin pool"
            await self._make_pool(ssd, group)
            there = await self.lvm.logical_volumes(ssd, group.name)
        await self.lvm.activate(ssd, group.name)
        if not there[POOL].fails_when_full:
            await self.lvm.fail_when_full(ssd, group.name)
        self._engine_state.put_store(ssd.id, group.uuid)
        block_size = int(await self._command("blockdev", "--getss", ssd.device))
        store = Store(ssd, group.name, group.extent_size, there[POOL].chunk_size, block_size)
        pool = self._pool(await self.mapper.read(), store)
        if pool.mode == "Fail":
            return f"the thin pool of {group.name} has failed"
        if not pool.is_writable:
            log.error("SSD %s: its thin pool cannot be written: %s", ssd.id, pool)
        self._stores[ssd.id] = store
        return ""

    async def _keeps_from_making(self, ssd: SsdConfig, group: VolumeGroup | None) -> str:
        if known := self._engine_state.stores.get(ssd.id):
            there = group.uuid if group else "none"
            return f"it has the volume group {there}, not {known}, which the node made on it"
        if ssd.format:
            return ""
        if group:
            return f"it holds the volume group {group.name} ({group.uuid})"
        shown = await self._command("wipefs", "--json", "--no-act", ssd.device)
        if shown.strip():
            found = json.loads(shown)["signatures"]
            return f"it holds {', '.join(sorted({one['type'] for one in found}))}"
        head = await self._kernel.run("cmp", "--bytes", str(HEAD_BYTES), ssd.device, "/dev/zero")
        return f"its first {HEAD_BYTES} bytes are not empty" if head.code else ""

    async def _make_group(self, ssd: SsdConfig, old: VolumeGroup | None) -> VolumeGroup:
        log.warning("SSD %s: creating a volume group on %s", ssd.id, ssd.device)
        if old:
            await self.lvm.run(ssd, "vgchange", "--activate", "n", old.name)
        if ssd.format:
            await self._command("wipefs", "--all", ssd.device)
        await self.lvm.create_volume_group(ssd, vg_name(ssd.id))
        made = await self.lvm.volume_group(ssd)
        assert made is not None, "it was made"
        return made

    async def _make_pool(self, ssd: SsdConfig, group: VolumeGroup) -> None:
        chunk_size, metadata = choose_sizes(group.free)
        await self.lvm.create_pool(ssd, group, chunk_size=chunk_size, metadata=metadata)

    async def _command(self, *command: str) -> str:
        output = await self._kernel.run(*command)
        if output.code:
            raise CommandFailed(command, output.code, output.err)
        return output.out


def choose_sizes(size: int) -> tuple[int, int]:
    """Chunk size and metadata of a thin pool of about ``size`` bytes, in bytes. A small chunk is
    zeroed and copied faster; a large one needs fewer metadata.
    """
    chunk_size = SMALLEST_CHUNK
    while size // chunk_size * METADATA_PER_CHUNK > MOST_METADATA:
        chunk_size *= 2
    return chunk_size, max(LEAST_METADATA, size // chunk_size * METADATA_PER_CHUNK)


def _refuse_full_pool(ssd_id: str, pool: Pool) -> None:
    """:raises NodeRefused: UNAVAILABLE: the pool cannot be written; NO_SPACE: its metadata."""
    if not pool.is_writable and pool.mode != "out_of_data_space":
        raise NodeRefused(
            RefusalCode.UNAVAILABLE,
            f"the thin pool of SSD {ssd_id} cannot be written: it is {pool.mode}"
            f"{', and needs a check' if pool.needs_check else ''}",
        )
    if pool.used_metadata * 100 >= pool.total_metadata * METADATA_PERCENT:
        raise NodeRefused(
            RefusalCode.NO_SPACE,
            f"SSD {ssd_id}: {pool.used_metadata} of {pool.total_metadata} blocks of its pool's"
            " metadata are used, so it takes no more volumes and snapshots",
        )
