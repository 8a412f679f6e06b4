"""Free clusters that read as zeros, whatever died when.

SPDK takes an lvol out of its lvstore first and clears the clusters then: if it dies between, they
are free and hold what was in them. So is the cluster that it is copying at its death, for the first
write over a snapshot. So at its next start, before any host is let in, all that is free there
becomes lvols of nobody, whose removal clears it again. The same where clusters were freed by
unmapping, on an SSD that is not declared any more to be zeroed by that.
"""

import asyncio
import logging

from inventory.nodes.engines.spdk.names import UNCLEARED, uncleared_name
from inventory.nodes.engines.spdk.rpc import NotAsAsked, RpcLost, RpcRefused
from inventory.nodes.engines.spdk.snapshot_tree import Parts
from inventory.nodes.engines.spdk.spdk_state import Lvstore, SpdkState
from inventory.nodes.errors import NodeRefused

PARTS = 64
PART_BYTES = 2**34
"""At most: hosts wait for the first part to be cleared."""

log = logging.getLogger(__name__)


class Zeroing:
    def __init__(self, parts: Parts) -> None:
        self._rpc = parts.rpc
        self._stores = parts.stores
        self._engine_state = parts.engine_state
        self._lvols = parts.lvols
        self._snapshot_tree = parts.snapshot_tree
        self._task: asyncio.Task[None] | None = None

    async def take(self) -> None:
        """To be called once in the life of a target, while no host can write. An SSD where it is
        not possible is absent from now on.
        """
        spdk_state = await SpdkState.read(self._rpc)
        for ssd_id, lvstore in self._stores.open_ones(spdk_state).items():
            try:
                await self._take(spdk_state, ssd_id, lvstore)
            except (RpcRefused, NotAsAsked) as error:
                self._stores.exclude(ssd_id, f"what is free may hold old data: {error}")

    async def refuse_unmapped(self) -> None:
        """To be called in place of ``take`` where that was called before in this life.

        :raises NotAsAsked: it is due for an SSD.
        """
        for ssd_id, lvstore in self._stores.open_ones(await SpdkState.read(self._rpc)).items():
            if self._was_unmapped(ssd_id, lvstore):
                raise NotAsAsked(
                    f"SSD {ssd_id} is not declared zeroes_on_unmap any more, and what is free"
                    " there was only unmapped: restart the target"
                )

    async def begin(self) -> None:
        """Clear a part of each SSD, so that thin volumes can be written, and begin with the rest,
        and with shared snapshots that an earlier life left.
        """
        for ssd_id in self._stores.open_ones(await SpdkState.read(self._rpc)):
            try:
                await self._clear(ssd_id, at_most=1)
            except (RpcRefused, NodeRefused) as error:
                log.error("SSD %s: %s", ssd_id, error)
        self._task = asyncio.create_task(self._run(), name="scrubs")

    def cancel(self) -> None:
        """Nothing is removed any more but what SPDK is about to."""
        if self._task is not None:
            self._task.cancel()

    async def end(self) -> None:
        """As ``cancel``; returns when it is so."""
        self.cancel()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def settle(self) -> None:
        """Returns when all is done that ``begin`` began."""
        if self._task is not None:
            await self._task

    async def _take(self, spdk_state: SpdkState, ssd_id: str, lvstore: Lvstore) -> None:
        there = spdk_state.lvols[lvstore.uuid].keys()
        names = self._engine_state.clearing(lvstore.uuid)
        was_copying = any(lvol.parent for lvol in spdk_state.lvols[lvstore.uuid].values())
        if names - there or was_copying or self._was_unmapped(ssd_id, lvstore):
            log.warning("SSD %s: what is free may hold old data and is cleared again", ssd_id)
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
        for ssd_id in self._stores.open_ones(await SpdkState.read(self._rpc)):
            try:
                await self._clear(ssd_id)
                await self._snapshot_tree.sweep(ssd_id)
                await self._note_cleared(ssd_id)
            except (RpcRefused, RpcLost, NodeRefused) as error:
                log.error("SSD %s: %s", ssd_id, error)

    async def _note_cleared(self, ssd_id: str) -> None:
        """Removals of an earlier life of the agent are over: all clusters that no lvol has are
        free.
        """
        spdk_state = await SpdkState.read(self._rpc)
        lvstore = self._stores.get(spdk_state, ssd_id)
        if not spdk_state.unseen(lvstore):
            for name in (
                self._engine_state.clearing(lvstore.uuid) - spdk_state.lvols[lvstore.uuid].keys()
            ):
                self._engine_state.end_clearing(lvstore.uuid, name)

    async def _clear(self, ssd_id: str, *, at_most: int | None = None) -> None:
        spdk_state = await SpdkState.read(self._rpc)
        lvstore = self._stores.get(spdk_state, ssd_id)
        names = sorted(
            name for name in spdk_state.lvols[lvstore.uuid] if name.startswith(UNCLEARED)
        )
        for name in names[:at_most]:
            await self._lvols.delete(lvstore, name)
