"""Clears the space that :class:`Zeroing` has filled, in the background."""

import asyncio
import logging
from collections.abc import Set

from inventory.nodes.engines.spdk.names import UNCLEARED
from inventory.nodes.engines.spdk.rpc import NotAsAsked, RpcLost, RpcRefused
from inventory.nodes.engines.spdk.snapshot_tree import Parts
from inventory.nodes.engines.spdk.spdk_state import Lvstore
from inventory.nodes.errors import NodeRefused

RETRY_SECONDS = 10.0
MAX_RETRY_SECONDS = 600.0
"""The pause after a failed attempt doubles up to this."""

log = logging.getLogger(__name__)


class Clearing:
    """Clears free clusters that may hold old data, and removes unused shared snapshots."""

    def __init__(self, parts: Parts) -> None:
        self._spdk_state = parts.spdk_state
        self._stores = parts.stores
        self._engine_state = parts.engine_state
        self._lvols = parts.lvols
        self._snapshot_tree = parts.snapshot_tree
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()

    async def begin(self) -> None:
        """Clear one part of each SSD, so that thin volumes can be written. Then clear the rest, and
        remove unused shared snapshots, in the background. What fails is tried again.
        """
        ssds = list(self._stores.open_ones(await self._spdk_state.current()))
        for ssd_id in ssds:
            try:
                await self._clear(ssd_id, at_most=1)
            except (RpcRefused, NodeRefused) as error:
                log.error("SSD %s: %s", ssd_id, error)
        self._tried = asyncio.Event()
        self._task = asyncio.create_task(self._run(ssds), name="clearing")

    def cancel(self) -> None:
        """Stop deleting. SPDK finishes the deletion in progress."""
        if self._task is not None:
            self._task.cancel()

    async def end(self) -> None:
        """Cancel, and wait until the background work has stopped."""
        self.cancel()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def settle(self) -> None:
        """Wait until the background work of ``begin`` is done, or has failed once and will be tried
        again.
        """
        if self._task is None:
            return
        tried = asyncio.create_task(self._tried.wait())
        await asyncio.wait({self._task, tried}, return_when=asyncio.FIRST_COMPLETED)
        tried.cancel()
        if self._task.done():
            await self._task

    async def _run(self, ssds: list[str]) -> None:
        pause = RETRY_SECONDS
        while ssds := [ssd_id for ssd_id in ssds if not await self._finish(ssd_id)]:
            self._tried.set()
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_RETRY_SECONDS)

    async def _finish(self, ssd_id: str) -> bool:
        """Whether nothing is left to do on the SSD."""
        try:
            await self._clear(ssd_id)
            left = await self._snapshot_tree.sweep(ssd_id)
            await self._note_cleared(ssd_id)
        except (RpcRefused, RpcLost, NotAsAsked, NodeRefused) as error:
            log.error("SSD %s: %s", ssd_id, error)
            return False
        return not left

    async def _note_cleared(self, ssd_id: str) -> None:
        """Record that all deletions before now are done, if all clusters without an lvol are free,
        and SPDK has not loaded the lvstore again since :class:`Zeroing` took its free space.
        """
        lvstore = self._stores.get(await self._spdk_state.current(), ssd_id)
        names = self._engine_state.clearing(lvstore.uuid) - self._lvols_of(lvstore)
        if not names:
            return
        await self._stores.count([ssd_id])
        were_free = self._all_free(ssd_id)
        await self._stores.look([ssd_id])  # hosts may have written, or discarded, between the reads
        if not were_free or not self._all_free(ssd_id):
            return
        if await self._stores.marks.missing([lvstore]):
            return
        for name in names - self._lvols_of(lvstore):
            self._engine_state.end_clearing(lvstore.uuid, name)

    def _all_free(self, ssd_id: str) -> bool:
        return self._spdk_state.unseen(self._stores.get(self._spdk_state, ssd_id)) <= 0

    def _lvols_of(self, lvstore: Lvstore) -> Set[str]:
        return self._spdk_state.lvols.get(lvstore.uuid, {}).keys()

    async def _clear(self, ssd_id: str, *, at_most: int | None = None) -> None:
        spdk_state = await self._spdk_state.current()
        lvstore = self._stores.get(spdk_state, ssd_id)
        names = sorted(
            name for name in spdk_state.lvols[lvstore.uuid] if name.startswith(UNCLEARED)
        )
        for name in names[:at_most]:
            await self._lvols.delete(lvstore, name)
