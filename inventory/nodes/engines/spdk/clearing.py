"""Finishes what could not be done at once: clears the space that :class:`Zeroing` has filled, and
deletes unused snapshots.
"""

import asyncio
import logging
from collections.abc import Set
from contextlib import suppress

from inventory.nodes.engines.retries import Retries
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
    """Clears free clusters that may hold old data, and removes unused shared snapshots. A task does
    this for all SSDs at a start, and later for each SSD where something was left.
    """

    def __init__(self, parts: Parts) -> None:
        self._spdk_state = parts.spdk_state
        self._stores = parts.stores
        self._engine_state = parts.engine_state
        self._lvols = parts.lvols
        self._snapshot_tree = parts.snapshot_tree
        self._snapshot_tree.on_left = self._try_later
        self._retries = Retries(RETRY_SECONDS, MAX_RETRY_SECONDS)
        self._task: asyncio.Task[None] | None = None
        self._is_idle = asyncio.Event()
        self._woken = asyncio.Event()

    async def begin(self) -> None:
        """Clear one part of each SSD, so that thin volumes can be written. Then clear the rest, and
        remove unused shared snapshots, in the background. What fails is tried again. So is what is
        left later.
        """
        ssds = list(self._stores.open_ones(await self._spdk_state.current()))
        for ssd_id in ssds:
            try:
                await self._clear(ssd_id, at_most=1)
            except (RpcRefused, NodeRefused) as error:
                log.error("SSD %s: %s", ssd_id, error)
        self._retries.begin()
        self._is_idle = asyncio.Event()
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
        """Wait until the background work of ``begin`` and all due attempts are done, or have failed
        and will be tried again.
        """
        if self._task is None:
            return
        idle = asyncio.create_task(self._is_idle.wait())
        await asyncio.wait({self._task, idle}, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        if self._task.done():
            await self._task

    def _try_later(self, ssd_id: str) -> None:
        self._retries.fail(ssd_id)
        self._woken.set()

    async def _run(self, ssds: list[str]) -> None:
        while True:
            for ssd_id in ssds:
                if await self._finish(ssd_id):
                    self._retries.succeed(ssd_id)
                else:
                    self._retries.fail(ssd_id)
            self._is_idle.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._retries.seconds):
                    await self._woken.wait()
            self._woken.clear()
            ssds = self._retries.take()
            if ssds:
                self._is_idle.clear()

    async def _finish(self, ssd_id: str) -> bool:
        """Whether nothing is left to do on the SSD."""
        try:
            await self._clear(ssd_id)
            left = await self._snapshot_tree.remove_unused(ssd_id)
            is_cleared = await self._note_cleared(ssd_id)
        except (RpcRefused, RpcLost, NotAsAsked, NodeRefused) as error:
            log.error("SSD %s: %s", ssd_id, error)
            return False
        except Exception:
            log.exception("SSD %s: the space could not be cleared", ssd_id)
            return False
        return is_cleared and not left

    async def _note_cleared(self, ssd_id: str) -> bool:
        """Record that all deletions before now are done, if all clusters without an lvol are free,
        and SPDK has not loaded the lvstore again since :class:`Zeroing` took its free space.
        Returns whether nothing is left to record. Hosts that write at this moment prevent that.
        """
        lvstore = self._stores.get(await self._spdk_state.current(), ssd_id)
        names = self._engine_state.clearing(lvstore.uuid) - self._lvols_of(lvstore)
        if not names:
            return True
        await self._stores.count([ssd_id])
        were_free = self._all_free(ssd_id)
        await self._stores.look([ssd_id])  # hosts may have written, or discarded, between the reads
        if not were_free or not self._all_free(ssd_id):
            return False
        if await self._stores.marks.missing([lvstore]):
            return False
        for name in names - self._lvols_of(lvstore):
            self._engine_state.end_clearing(lvstore.uuid, name)
        return True

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
