"""Snapshots that volumes and clones share.

A snapshot lvol that belongs to no requested snapshot is shared: it exists for the lvols above it.
When at most one of these is left, the snapshot lvol is deleted, and SPDK merges it into the
remaining one. So a clone never prevents the removal of its source, and no data is copied.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from inventory.nodes.engines.spdk.engine_state import EngineState
from inventory.nodes.engines.spdk.kept_state import KeptState
from inventory.nodes.engines.spdk.lvols import Lvols
from inventory.nodes.engines.spdk.lvstores import Stores
from inventory.nodes.engines.spdk.names import shared_name
from inventory.nodes.engines.spdk.rpc import NotAsAsked, RpcRefused, SpdkRpc
from inventory.nodes.engines.spdk.spdk_state import Lvol, Lvstore

log = logging.getLogger(__name__)


class SnapshotTree:
    """Keeps snapshots that are in use, and removes unused ones. Only one task at a time decides
    which snapshots are unused, but no task waits while clusters are cleared.

    ``on_left`` is called with the id of an SSD where ``sweep`` left something.
    """

    def __init__(
        self, spdk_state: KeptState, stores: Stores, engine_state: EngineState, lvols: Lvols
    ) -> None:
        self._spdk_state = spdk_state
        self._stores = stores
        self._engine_state = engine_state
        self._lvols = lvols
        self._deciding = asyncio.Lock()
        self._kept: Counter[str] = Counter()
        self._going: set[str] = set()
        self._refused: set[tuple[str, str]] = set()
        self.on_left: Callable[[str], None] = lambda ssd_id: None

    @asynccontextmanager
    async def frozen(self, lvstore: Lvstore, name: str) -> AsyncIterator[Lvol]:
        """Yield a snapshot with the present content of the lvol. It is kept during the block.

        If nothing was written since the snapshot below the lvol was taken, that snapshot is used.
        This is always so for a read-only lvol. Otherwise a new snapshot is taken.
        """
        with ExitStack() as keeping:
            async with self._deciding:
                found = await self._unchanged(lvstore, name)
                made = found.name if found else shared_name()
                keeping.enter_context(self.keep(made))
            if found is None:
                await self._lvols.snapshot(lvstore, name, made)
                found = self._spdk_state.find(lvstore, made)
            if found is None:
                raise NotAsAsked(f"snapshot {made} of {name} no longer exists")
            yield found

    async def keep_layers(self, lvstore: Lvstore, name: str, keeping: ExitStack) -> list[Lvol]:
        """Return the snapshot and those below it, the oldest first. They are kept until ``keeping``
        closes, because SPDK no longer shows a snapshot that was deleted while it was read.

        :raises NotAsAsked: one of them is not visible, or is being removed.
        """
        async with self._deciding:
            layers = await self._spdk_state.look_chain(lvstore, name)
            names = [layer.name for layer in layers]
            if going := self._going.intersection(names):
                raise NotAsAsked(f"{', '.join(sorted(going))} is being removed")
            keeping.enter_context(self.keep(*names))
        return layers

    @contextmanager
    def keep(self, *names: str) -> Iterator[None]:
        """Do not remove these snapshots during the block."""
        self._kept.update(names)
        try:
            yield
        finally:
            self._kept -= Counter(names)

    def reset(self) -> None:
        """Forget everything, because the SPDK process may be another one."""
        self._kept.clear()
        self._going.clear()
        self._refused.clear()

    async def sweep(self, ssd_id: str) -> None:
        """Remove unused snapshots. What is left, or may be, is tried again in the background."""
        is_clean = False
        try:
            is_clean = not await self.remove_unused(ssd_id)
        finally:
            if not is_clean:
                self.on_left(ssd_id)

    async def remove_unused(self, ssd_id: str) -> set[str]:
        """Remove shared snapshots that have at most one lvol above them. Returns the names of those
        that are left: SPDK does not delete them, or another task is still trying.
        """
        refused: set[str] = set()
        while True:
            async with self._deciding:
                lvstore = self._stores.find(await self._spdk_state.current(), ssd_id)
                unused = self._unused(lvstore) if lvstore else set()
                going = unused - refused - self._going
                self._going |= going
            if lvstore is None or not going:
                return unused
            try:
                refused |= await self._remove(lvstore, going)
            finally:
                async with self._deciding:
                    self._going -= going

    async def _remove(self, lvstore: Lvstore, names: set[str]) -> set[str]:
        """Delete the snapshots. Returns the names of those that SPDK does not delete."""
        refused = set()
        for name in sorted(names):
            try:
                await self._lvols.delete(lvstore, name)
            except RpcRefused as error:
                refused.add(name)
                self._refused.add((lvstore.uuid, name))
                log.warning("snapshot %s of %s was not deleted: %s", name, lvstore.name, error)
            else:
                self._refused.discard((lvstore.uuid, name))
                self._engine_state.drop_shared(lvstore.uuid, name)
        return refused

    async def _unchanged(self, lvstore: Lvstore, name: str) -> Lvol | None:
        """Return the snapshot directly below the lvol if it has the same content."""
        spdk_state = await self._spdk_state.current()
        lvol = await spdk_state.look(lvstore, name)
        below = await spdk_state.look(lvstore, lvol.parent) if lvol and lvol.parent else None
        if lvol is None or below is None or below.name in self._going:
            return None
        return below if not lvol.owned_clusters and below.size == lvol.size else None

    def _unused(self, lvstore: Lvstore) -> set[str]:
        """The unused snapshots. One that SPDK did not delete may be hidden, so it is not found
        among the lvols, and nothing can use it.
        """
        lvols = self._spdk_state.lvols.get(lvstore.uuid, {})
        hidden = {name for uuid, name in self._refused if uuid == lvstore.uuid} - lvols.keys()
        return hidden | {
            lvol.name
            for lvol in lvols.values()
            if lvol.is_snapshot
            and self._engine_state.is_shared(lvstore.uuid, lvol.name)
            and self._spdk_state.count_above(lvstore, lvol.name) <= 1
            and not self._kept[lvol.name]
        }


@dataclass(frozen=True)
class Parts:
    """The objects that volumes, snapshots and zeroing share."""

    rpc: SpdkRpc
    spdk_state: KeptState
    stores: Stores
    engine_state: EngineState
    lvols: Lvols
    snapshot_tree: SnapshotTree
