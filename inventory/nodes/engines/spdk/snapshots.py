"""Snapshots: one snapshot lvol below each piece of a volume."""

from dataclasses import replace

from inventory.nodes.engines.records import SnapshotEntry
from inventory.nodes.engines.spdk.admission import check_space
from inventory.nodes.engines.spdk.kept_state import KeptState
from inventory.nodes.engines.spdk.names import snapshot_name, volume_name
from inventory.nodes.engines.spdk.presence import volume_there
from inventory.nodes.engines.spdk.rpc import RpcRefused
from inventory.nodes.engines.spdk.snapshot_tree import Parts
from inventory.nodes.engines.spdk.volumes import Volumes
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import RefusalCode, SnapshotSpec


class Snapshots:
    """Takes and removes snapshots."""

    def __init__(self, parts: Parts, volumes: Volumes) -> None:
        self._spdk_state = parts.spdk_state
        self._stores = parts.stores
        self._engine_state = parts.engine_state
        self._lvols = parts.lvols
        self._snapshot_tree = parts.snapshot_tree
        self._volumes = volumes

    async def ensure(self, uuid: str, spec: SnapshotSpec) -> None:
        """See :class:`Engine`.

        :raises NodeRefused: NOT_FOUND, NO_SPACE; CONFLICT: the pieces cannot be frozen at one
            moment.
        """
        old = self._engine_state.snapshots.get(uuid)
        if old and old.is_made:
            return
        volume = self._engine_state.volumes.get(spec.volume_uuid)
        if volume is None or not volume.is_whole:
            raise NodeRefused(
                RefusalCode.NOT_FOUND, f"volume {spec.volume_uuid} is not on this node"
            )
        await self.remove(uuid)  # left by a crash
        async with self._stores.locks.hold(spec.pieces):
            spdk_state = await self._spdk_state.current()
            await self._stores.look(piece.ssd_id for piece in spec.pieces)
            await volume_there(self._stores, spdk_state, self._engine_state, spec.volume_uuid)
            await self._volumes.require_freezable(volume)
            entry = SnapshotEntry(uuid, spec, snapshot_name(uuid))
            await check_space(self._stores, spdk_state, entry.name, spec.pieces)
            self._engine_state.put_snapshot(entry)
            try:
                await self._take(spdk_state, entry)
            except RpcRefused:
                await self.remove(uuid)
                raise
            self._engine_state.put_snapshot(replace(entry, is_made=True))

    async def remove(self, uuid: str) -> None:
        """Remove the snapshot. Its lvols that clones use stay as shared lvols.

        :raises NodeRefused: UNAVAILABLE: a piece is on a missing SSD.
        """
        entry = self._engine_state.snapshots.get(uuid)
        if entry is None:
            return
        spdk_state = await self._spdk_state.current()
        ssds = {piece.ssd_id for piece in entry.spec.pieces}
        await self._stores.look(ssds)
        self._stores.refuse_missing(spdk_state, ssds)
        there = [self._stores.find(spdk_state, ssd_id) for ssd_id in ssds]
        self._engine_state.release_snapshot(entry, [lvstore.uuid for lvstore in there if lvstore])
        for ssd_id in sorted(ssds):
            await self._snapshot_tree.sweep(ssd_id)

    async def _take(self, spdk_state: KeptState, entry: SnapshotEntry) -> None:
        volume = volume_name(entry.spec.volume_uuid)
        for piece in entry.spec.pieces:
            lvstore = self._stores.get(spdk_state, piece.ssd_id)
            await self._lvols.snapshot(lvstore, volume, entry.name)
