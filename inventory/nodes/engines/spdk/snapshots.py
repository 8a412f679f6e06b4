"""Snapshots: a snapshot lvol below each piece of a volume."""

from dataclasses import replace

from inventory.nodes.engines.spdk.books import SnapshotEntry
from inventory.nodes.engines.spdk.chains import Parts
from inventory.nodes.engines.spdk.claims import check_space
from inventory.nodes.engines.spdk.names import snapshot_name, volume_name
from inventory.nodes.engines.spdk.rpc import RpcRefused
from inventory.nodes.engines.spdk.view import View
from inventory.nodes.engines.spdk.volumes import Volumes
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import RefusalCode, SnapshotSpec


class Snapshots:
    def __init__(self, parts: Parts, volumes: Volumes) -> None:
        self._rpc = parts.rpc
        self._stores = parts.stores
        self._books = parts.books
        self._lvols = parts.lvols
        self._chains = parts.chains
        self._volumes = volumes

    async def ensure(self, uuid: str, spec: SnapshotSpec) -> None:
        """See :class:`Engine`.

        :raises NodeRefused: NOT_FOUND, NO_SPACE; CONFLICT where the pieces cannot be caught at one
            moment.
        """
        entry = self._books.snapshots.get(uuid)
        if entry and entry.is_made:
            return
        volume = self._books.volumes.get(spec.volume_uuid)
        if volume is None or not volume.is_whole:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"volume {spec.volume_uuid} is not here")
        async with self._stores.hold(spec.pieces):
            view = await View.read(self._rpc)
            await self._volumes.refuse_torn(view, volume)
            check_space(self._stores, view, snapshot_name(uuid), spec.pieces)
            entry = SnapshotEntry(uuid, spec)
            self._books.put_snapshot(entry)
            await self._release(view, uuid)
            try:
                await self._take(view, uuid, spec)
            except RpcRefused:
                await self._release(await View.read(self._rpc), uuid)
                self._books.drop_snapshot(uuid)
                raise
            self._books.put_snapshot(replace(entry, is_made=True))

    async def remove(self, uuid: str) -> None:
        """What clones share of it stays, as nobody's.

        :raises NodeRefused: UNAVAILABLE; a piece is on an SSD that is missing.
        """
        entry = self._books.snapshots.get(uuid)
        view = await View.read(self._rpc)
        ssds = {piece.ssd_id for piece in entry.spec.pieces} if entry else set()
        self._stores.refuse_missing(view, ssds)
        for ssd_id, lvstore in self._stores.open_ones(view).items():
            is_there = view.find(lvstore, snapshot_name(uuid)) is not None
            if is_there or ssd_id in ssds:
                if is_there:
                    await self._chains.release(lvstore, snapshot_name(uuid))
                await self._chains.sweep(ssd_id)
        self._books.drop_snapshot(uuid)

    async def _take(self, view: View, uuid: str, spec: SnapshotSpec) -> None:
        for piece in spec.pieces:
            lvstore = self._stores.get(view, piece.ssd_id)
            await self._lvols.snapshot(lvstore, volume_name(spec.volume_uuid), snapshot_name(uuid))

    async def _release(self, view: View, uuid: str) -> None:
        """What a crash or a refusal left of it."""
        for ssd_id, lvstore in self._stores.open_ones(view).items():
            if view.find(lvstore, snapshot_name(uuid)):
                await self._chains.release(lvstore, snapshot_name(uuid))
                await self._chains.sweep(ssd_id)
