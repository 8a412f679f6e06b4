"""Makes free clusters read as zeros after any crash.

SPDK first removes an lvol from its lvstore and then clears its clusters. If SPDK dies in between,
the clusters are free and hold old data. The same happens to a cluster that it is copying for the
first write over a snapshot. So at its next start, before any host may connect, all free space is
filled with lvols whose deletion clears the space again. The same is done if clusters were freed by
unmapping on an SSD that is no longer declared ``zeroes_on_unmap``.
"""

import asyncio
import logging
from collections.abc import Set

from inventory.nodes.engines.spdk.kept_state import KeptState
from inventory.nodes.engines.spdk.names import UNCLEARED, uncleared_name
from inventory.nodes.engines.spdk.rpc import NotAsAsked, RpcLost, RpcRefused
from inventory.nodes.engines.spdk.snapshot_tree import Parts
from inventory.nodes.engines.spdk.spdk_state import Lvstore
from inventory.nodes.errors import NodeRefused

PARTS = 64
PART_BYTES = 2**34
"""Maximum size of a part. Hosts wait for the first part to be cleared."""

log = logging.getLogger(__name__)


class Zeroing:
    """Clears free clusters that may hold old data."""

    def __init__(self, parts: Parts) -> None:
        self._spdk_state = parts.spdk_state
        self._stores = parts.stores
        self._engine_state = parts.engine_state
        self._lvols = parts.lvols
        self._snapshot_tree = parts.snapshot_tree
        self._task: asyncio.Task[None] | None = None

    async def take(self) -> None:
        """Fill free space that may hold old data with lvols. Call once after SPDK starts, while no
        host can write. An SSD where this fails is absent from now on.
        """
        spdk_state = await self._spdk_state.current()
        for ssd_id, lvstore in self._stores.open_ones(spdk_state).items():
            try:
                await self._take(spdk_state, ssd_id, lvstore)
            except (RpcRefused, NotAsAsked) as error:
                self._stores.exclude(ssd_id, f"its free space may contain old data: {error}")

    async def refuse_unmapped(self) -> None:
        """Check that no SSD needs ``take``. Call this instead of ``take`` if ``take`` was called
        since SPDK started.

        :raises NotAsAsked: an SSD needs it.
        """
        for ssd_id, lvstore in self._stores.open_ones(await self._spdk_state.current()).items():
            if self._was_unmapped(ssd_id, lvstore):
                raise NotAsAsked(
                    f"SSD {ssd_id} is no longer declared zeroes_on_unmap, and its free space"
                    " was only unmapped: restart the target"
                )

    async def begin(self) -> None:
        """Clear one part of each SSD, so that thin volumes can be written. Then clear the rest, and
        remove unused shared snapshots, in the background.
        """
        for ssd_id in self._stores.open_ones(await self._spdk_state.current()):
            try:
                await self._clear(ssd_id, at_most=1)
            except (RpcRefused, NodeRefused) as error:
                log.error("SSD %s: %s", ssd_id, error)
        self._task = asyncio.create_task(self._run(), name="zeroing")

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
        """Wait until the background work of ``begin`` is done."""
        if self._task is not None:
            await self._task

    async def _take(self, spdk_state: KeptState, ssd_id: str, lvstore: Lvstore) -> None:
        there = spdk_state.lvols[lvstore.uuid].keys()
        names = self._engine_state.clearing(lvstore.uuid)
        was_copying = any(lvol.parent for lvol in spdk_state.lvols[lvstore.uuid].values())
        if names - there or was_copying or self._was_unmapped(ssd_id, lvstore):
            log.warning("SSD %s: its free space may contain old data and is cleared again", ssd_id)
            part = min(-(-lvstore.free_clusters // PARTS), PART_BYTES // lvstore.cluster_size)
            for first in range(0, lvstore.free_clusters, max(1, part)):
                clusters = min(part, lvstore.free_clusters - first)
                await self._lvols.create(
                    lvstore,
                    uncleared_name(),
                    clusters * lvstore.cluster_size,
                    is_thin=False,
                    clear_method=self._stores.clear_method(ssd_id),
                )
        for name in names:
            self._engine_state.end_clearing(lvstore.uuid, name)
        is_so = not self._stores.trusts_unmap(ssd_id)
        self._engine_state.note_overwritten(lvstore.uuid, is_so=is_so)

    def _was_unmapped(self, ssd_id: str, lvstore: Lvstore) -> bool:
        is_trusted = self._stores.trusts_unmap(ssd_id)
        return not is_trusted and not self._engine_state.is_overwritten(lvstore.uuid)

    async def _run(self) -> None:
        for ssd_id in self._stores.open_ones(await self._spdk_state.current()):
            try:
                await self._clear(ssd_id)
                await self._snapshot_tree.sweep(ssd_id)
                await self._note_cleared(ssd_id)
            except (RpcRefused, RpcLost, NodeRefused) as error:
                log.error("SSD %s: %s", ssd_id, error)

    async def _note_cleared(self, ssd_id: str) -> None:
        """Record that the deletions of an earlier process are done, if all clusters without an lvol
        are free.
        """
        lvstore = self._stores.get(await self._spdk_state.current(), ssd_id)
        names = self._engine_state.clearing(lvstore.uuid) - self._lvols_of(lvstore)
        if not names:
            return
        await self._stores.count([ssd_id])
        were_free = self._all_free(ssd_id)
        await self._stores.look([ssd_id])  # hosts may have written, or discarded, between the reads
        if were_free and self._all_free(ssd_id):
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
