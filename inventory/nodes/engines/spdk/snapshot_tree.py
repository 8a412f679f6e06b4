"""Snapshots that volumes and clones have in common.

A snapshot lvol that nobody asked for, or nobody wants any more, is shared: it is there for the
lvols above it, and goes, merged into the last of them, when at most one is left. So a clone never
bars the removal of what it was made from, and nothing is copied for that.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from inventory.nodes.engines.spdk.engine_state import EngineState
from inventory.nodes.engines.spdk.lvols import Lvols
from inventory.nodes.engines.spdk.lvstores import Stores
from inventory.nodes.engines.spdk.names import shared_name
from inventory.nodes.engines.spdk.rpc import NotAsAsked, RpcRefused, SpdkRpc
from inventory.nodes.engines.spdk.spdk_state import Lvol, Lvstore, SpdkState

log = logging.getLogger(__name__)


class SnapshotTree:
    """What is used is kept, and what goes is no longer used: which of both, is decided by one at a
    time. Nobody waits while clusters are cleared.
    """

    def __init__(
        self, rpc: SpdkRpc, stores: Stores, engine_state: EngineState, lvols: Lvols
    ) -> None:
        self._rpc = rpc
        self._stores = stores
        self._engine_state = engine_state
        self._lvols = lvols
        self._deciding = asyncio.Lock()
        self._kept: Counter[str] = Counter()
        self._going: set[str] = set()

    @asynccontextmanager
    async def frozen(self, lvstore: Lvstore, name: str) -> AsyncIterator[Lvol]:
        """A snapshot of what the lvol is now, which stays for as long as this: the one below it
        where nothing was written since, as always below a read-only one; else a new one.
        """
        with ExitStack() as keeping:
            async with self._deciding:
                found = self._unchanged(await SpdkState.read(self._rpc), lvstore, name)
                made = found.name if found else shared_name()
                keeping.enter_context(self.keep(made))
            if found is None:
                await self._lvols.snapshot(lvstore, name, made)
                found = (await SpdkState.read(self._rpc)).find(lvstore, made)
            if found is None:
                raise NotAsAsked(f"snapshot {made} of {name} is gone")
            yield found

    async def keep_layers(self, lvstore: Lvstore, name: str, keeping: ExitStack) -> list[Lvol]:
        """A snapshot and those below it, the oldest first, which stay for as long as ``keeping``:
        SPDK loses sight of what is deleted while it is read.

        :raises NotAsAsked: one is not to be seen, or is being removed.
        """
        async with self._deciding:
            layers = (await SpdkState.read(self._rpc)).chain(lvstore, name)
            names = [layer.name for layer in layers]
            if going := self._going.intersection(names):
                raise NotAsAsked(f"{', '.join(sorted(going))} is being removed")
            keeping.enter_context(self.keep(*names))
        return layers

    @contextmanager
    def keep(self, *names: str) -> Iterator[None]:
        """They stay meanwhile, whoever lets go of them."""
        self._kept.update(names)
        try:
            yield
        finally:
            self._kept -= Counter(names)

    def reset(self) -> None:
        """SPDK may be another one."""
        self._kept.clear()
        self._going.clear()

    async def sweep(self, ssd_id: str) -> None:
        """Remove the shared snapshots that are for one lvol or none."""
        refused: set[str] = set()
        while True:
            async with self._deciding:
                spdk_state = await SpdkState.read(self._rpc)
                lvstore = self._stores.find(spdk_state, ssd_id)
                going = self._idle(spdk_state, lvstore) - refused if lvstore else set()
                self._going |= going
            if lvstore is None or not going:
                return
            try:
                refused |= await self._remove(lvstore, going)
            finally:
                async with self._deciding:
                    self._going -= going

    async def _remove(self, lvstore: Lvstore, names: set[str]) -> set[str]:
        """Those that SPDK does not remove."""
        refused = set()
        for name in sorted(names):
            try:
                await self._lvols.delete(lvstore, name)
            except RpcRefused as error:
                refused.add(name)
                log.warning("snapshot %s of %s stays: %s", name, lvstore.name, error)
            else:
                self._engine_state.drop_shared(lvstore.uuid, name)
        return refused

    def _unchanged(self, spdk_state: SpdkState, lvstore: Lvstore, name: str) -> Lvol | None:
        """The snapshot right below, which is the same to read."""
        lvol = spdk_state.find(lvstore, name)
        below = spdk_state.find(lvstore, lvol.parent) if lvol and lvol.parent else None
        if lvol is None or below is None or below.name in self._going:
            return None
        return below if not lvol.owned_clusters and below.size == lvol.size else None

    def _idle(self, spdk_state: SpdkState, lvstore: Lvstore) -> set[str]:
        lvols = spdk_state.lvols[lvstore.uuid].values()
        above = Counter(lvol.parent for lvol in lvols)
        return {
            lvol.name
            for lvol in lvols
            if self._engine_state.is_shared(lvstore.uuid, lvol.name)
            and above[lvol.name] <= 1
            and not self._kept[lvol.name]
            and lvol.name not in self._going
        }


@dataclass(frozen=True)
class Parts:
    """What volumes and snapshots are made with."""

    rpc: SpdkRpc
    stores: Stores
    engine_state: EngineState
    lvols: Lvols
    snapshot_tree: SnapshotTree
