"""Snapshots: each consists of thin snapshots of all pieces of a volume, taken at one moment."""

from dataclasses import replace

from inventory.nodes.engines.linux.admission import check_space
from inventory.nodes.engines.linux.engine_state import EngineState
from inventory.nodes.engines.linux.fronts import Fronts
from inventory.nodes.engines.linux.kernel import CommandFailed
from inventory.nodes.engines.linux.names import snapshot_name, volume_name
from inventory.nodes.engines.linux.stores import Stores
from inventory.nodes.engines.linux.volumes import Volumes
from inventory.nodes.engines.records import SnapshotEntry, VolumeEntry
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import RefusalCode, SnapshotSpec


class Snapshots:
    """Takes and removes snapshots. Volumes that were created from a snapshot do not need it any
    more.
    """

    def __init__(
        self, stores: Stores, engine_state: EngineState, fronts: Fronts, volumes: Volumes
    ) -> None:
        self._stores = stores
        self._engine_state = engine_state
        self._fronts = fronts
        self._volumes = volumes

    async def ensure(self, uuid: str, spec: SnapshotSpec) -> None:
        """See :class:`Engine`.

        :raises NodeRefused: NOT_FOUND, NO_SPACE, UNAVAILABLE.
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
            mapped = await self._stores.mapper.read()
            self._volumes.there(mapped, spec.volume_uuid)
            entry = SnapshotEntry(uuid, spec, snapshot_name(uuid))
            check_space(self._stores, mapped, entry.name, spec.pieces)
            self._engine_state.put_snapshot(entry)
            try:
                await self._take(volume, entry)
            except CommandFailed:
                await self.remove(uuid)
                raise
            self._engine_state.put_snapshot(replace(entry, is_made=True))

    async def remove(self, uuid: str) -> None:
        """Remove the snapshot.

        :raises NodeRefused: UNAVAILABLE: a piece is on a missing SSD.
        """
        entry = self._engine_state.snapshots.get(uuid)
        if entry is None:
            return
        ssds = {piece.ssd_id for piece in entry.spec.pieces}
        self._stores.refuse_missing(ssds)
        for ssd_id in sorted(ssds):
            if store := self._stores.find(ssd_id):
                await self._stores.remove_lv(store, entry.name)
        self._engine_state.leave_family(entry.name)
        self._engine_state.drop_snapshot(uuid)

    async def _take(self, volume: VolumeEntry, entry: SnapshotEntry) -> None:
        source = volume_name(volume.uuid)
        self._engine_state.join_family(entry.name, source)
        async with self._fronts.frozen(volume):
            for piece in entry.spec.pieces:
                store = self._stores.get(piece.ssd_id)
                await self._stores.lvm.snapshot(store.ssd, store.vg, source, entry.name)
