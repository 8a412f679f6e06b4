"""Makes free clusters read as zeros after SPDK or an SSD failed.

SPDK first removes an lvol from its lvstore and then clears its clusters. If SPDK dies in between,
or the SSD is removed, the clusters are free and hold old data. The same happens to a cluster that
it is copying for the first write over a snapshot. So when SPDK has loaded an lvstore, and before
hosts or new volumes may use it, all its free space is filled with lvols whose deletion clears the
space again (:class:`Clearing`). The same is done if clusters were freed by unmapping on an SSD that
is no longer declared ``zeroes_on_unmap``.
"""

import logging

from inventory.nodes.engines.spdk.kept_state import KeptState
from inventory.nodes.engines.spdk.names import uncleared_name
from inventory.nodes.engines.spdk.rpc import NotAsAsked, RpcRefused
from inventory.nodes.engines.spdk.snapshot_tree import Parts
from inventory.nodes.engines.spdk.spdk_state import Lvstore
from inventory.nodes.engines.spdk.subsystems import exporter, read_subsystems

PARTS = 64
PART_BYTES = 2**34
"""Maximum size of a part. Hosts wait for the first part to be cleared."""

log = logging.getLogger(__name__)


class Zeroing:
    """Takes free clusters that may hold old data out of use."""

    def __init__(self, parts: Parts) -> None:
        self._rpc = parts.rpc
        self._spdk_state = parts.spdk_state
        self._stores = parts.stores
        self._engine_state = parts.engine_state
        self._lvols = parts.lvols

    async def take(self) -> None:
        """Fill free space that may hold old data with lvols, on each usable SSD whose lvstore SPDK
        has loaded since the last call. Call this before hosts and new volumes may use these SSDs.
        An SSD where this fails is absent until the next start, which tries again.

        :raises NotAsAsked: an SSD was removed meanwhile; or hosts use such an SSD already, so the
            target must be restarted. Only another program, or an earlier version of the agent, can
            have exported its volumes.
        """
        taken = await self._mark()
        spdk_state = await self._spdk_state.current()
        for ssd_id, lvstore in self._stores.open_ones(spdk_state).items():
            if lvstore.uuid not in taken:
                continue
            may_be_old = self._may_be_old(spdk_state, ssd_id, lvstore)
            if may_be_old:
                await self._refuse_exported(spdk_state, ssd_id, lvstore)
            try:
                if may_be_old:
                    await self._fill(ssd_id, lvstore)
            except (RpcRefused, NotAsAsked) as error:
                self._exclude(ssd_id, error)
                continue
            if await self._stores.marks.missing([lvstore]):
                raise NotAsAsked(f"SSD {ssd_id} was removed during the start")
            is_so = not self._stores.trusts_unmap(ssd_id)
            self._engine_state.note_overwritten(lvstore.uuid, is_so=is_so)
            self._engine_state.end_taking(lvstore.uuid)

    async def refuse_unmapped(self) -> None:
        """Check that no free space was only unmapped on an SSD that is not declared
        ``zeroes_on_unmap``. Call this before ``take`` if hosts may use the target already.

        :raises NotAsAsked: the target must be restarted.
        """
        for ssd_id, lvstore in self._stores.open_ones(await self._spdk_state.read_stores()).items():
            if self._was_unmapped(ssd_id, lvstore):
                raise NotAsAsked(
                    f"SSD {ssd_id} is no longer declared zeroes_on_unmap, and its free space"
                    " was only unmapped: restart the target"
                )

    async def _mark(self) -> set[str]:
        """Mark the lvstores without a mark, and return the UUIDs of those whose free space must be
        checked. The mark is set before the state is read, and read again at the end. So it cannot
        belong to a later load than the state. Until the end, the engine state has a record.
        """
        lvstores = self._stores.open_ones(await self._spdk_state.read_stores())
        loaded = await self._stores.marks.missing(lvstores.values())
        taken = loaded | self._engine_state.taking()
        for ssd_id, lvstore in lvstores.items():
            if lvstore.uuid not in taken:
                continue
            self._engine_state.begin_taking(lvstore.uuid)
            self._spdk_state.invalidate()
            try:
                await self._stores.marks.put(lvstore)
            except (RpcRefused, NotAsAsked) as error:
                self._exclude(ssd_id, error)
        return taken

    def _exclude(self, ssd_id: str, error: Exception) -> None:
        self._stores.exclude(ssd_id, f"its free space may contain old data: {error}")

    def _may_be_old(self, spdk_state: KeptState, ssd_id: str, lvstore: Lvstore) -> bool:
        """Whether free clusters may hold old data, if SPDK has just loaded the lvstore."""
        lvols = spdk_state.lvols[lvstore.uuid]
        was_deleting = bool(self._engine_state.clearing(lvstore.uuid) - lvols.keys())
        was_copying = any(lvol.parent for lvol in lvols.values())
        return was_deleting or was_copying or self._was_unmapped(ssd_id, lvstore)

    def _was_unmapped(self, ssd_id: str, lvstore: Lvstore) -> bool:
        is_trusted = self._stores.trusts_unmap(ssd_id)
        return not is_trusted and not self._engine_state.is_overwritten(lvstore.uuid)

    async def _refuse_exported(self, spdk_state: KeptState, ssd_id: str, lvstore: Lvstore) -> None:
        lvols = tuple(spdk_state.lvols[lvstore.uuid].values())
        members = {
            key for one in lvols for key in (one.uuid, *(one.bdev.aliases if one.bdev else ()))
        }
        raids = {
            raid.name
            for raid in spdk_state.raids.values()
            if members & frozenset().union(*raid.members)
        }
        subsystems = await read_subsystems(self._rpc)
        for name in sorted({one.uuid for one in lvols} | raids):
            if nqn := exporter(subsystems, name):
                raise NotAsAsked(
                    f"the free space of SSD {ssd_id} may contain old data, but {nqn} exports a"
                    " volume on it: restart the target"
                )

    async def _fill(self, ssd_id: str, lvstore: Lvstore) -> None:
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
