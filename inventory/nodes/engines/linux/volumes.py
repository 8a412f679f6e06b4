"""Volumes: creates, expands and removes their logical volumes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from inventory.nodes.engines.linux.admission import check_sizes, check_space
from inventory.nodes.engines.linux.engine_state import EngineState
from inventory.nodes.engines.linux.fronts import Fronts
from inventory.nodes.engines.linux.kernel import CommandFailed
from inventory.nodes.engines.linux.lvm import IN_USE
from inventory.nodes.engines.linux.mapped import Mapped
from inventory.nodes.engines.linux.names import volume_name
from inventory.nodes.engines.linux.opening import Store
from inventory.nodes.engines.linux.stores import Stores
from inventory.nodes.engines.records import VolumeEntry
from inventory.nodes.errors import NodeRefused
from inventory.nodes.layout import refuse_difference, refuse_shifted
from inventory.nodes.wire import RefusalCode, Source, SourceKind, VolumeSpec


class Volumes:
    """Creates, expands and removes volumes."""

    def __init__(self, stores: Stores, engine_state: EngineState, fronts: Fronts) -> None:
        self._stores = stores
        self._engine_state = engine_state
        self._fronts = fronts

    async def create(self, uuid: str, spec: VolumeSpec) -> None:
        """See :class:`Engine`."""
        entry = self._engine_state.volumes.get(uuid)
        if entry is not None and entry.made:
            raise NodeRefused(RefusalCode.CONFLICT, f"volume {uuid} exists already")
        async with self._stores.locks.hold(spec.pieces):
            mapped = await self._stores.mapper.read()
            self._check_source(mapped, spec)
            check_space(self._stores, mapped, volume_name(uuid), spec.pieces)
            check_sizes(self._stores, spec.pieces, spec.block_size)
            if entry is not None:  # left by a crash
                await self._clear(uuid)
            self._engine_state.put_volume(VolumeEntry(uuid, spec))
            try:
                await self._make(uuid, spec)
            except CommandFailed:
                await self._give_up(uuid, spec)
                raise
            entry = self._engine_state.finish_volume(uuid)
        await self._fronts.assemble(entry)

    async def expand(self, uuid: str, spec: VolumeSpec) -> None:
        """See :class:`Engine`."""
        entry = self.there(await self._stores.mapper.read(), uuid)
        if entry.spec != spec or not entry.is_whole:
            refuse_difference(uuid, entry.spec, spec)
            refuse_shifted(uuid, entry.made_pieces, spec.pieces)
            entry = await self._expand(entry, spec)
        await self._fronts.assemble(entry)

    async def remove(self, uuid: str) -> None:
        """See :class:`Engine`.

        :raises NodeRefused: UNAVAILABLE: a piece is on a missing SSD; IN_USE: a target exports it.
        """
        entry = self._engine_state.volumes.get(uuid)
        self._stores.refuse_missing({piece.ssd_id for piece in entry.spec.pieces} if entry else ())
        try:
            await self._clear(uuid)
        except CommandFailed as error:
            if any(one in error.text for one in IN_USE):
                text = f"volume {uuid} is in use: {error}"
                raise NodeRefused(RefusalCode.IN_USE, text) from error
            raise
        self._engine_state.drop_volume(uuid)

    def there(self, mapped: Mapped, uuid: str) -> VolumeEntry:
        """Return the entry of an existing volume.

        :raises NodeRefused: NOT_FOUND; UNAVAILABLE: an SSD is missing.
        """
        entry = self._engine_state.volumes.get(uuid)
        if entry is None or not entry.made:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"volume {uuid} is not on this node")
        self._stores.refuse_lost(mapped, f"volume {uuid}", volume_name(uuid), entry.made_pieces)
        return entry

    async def _make(self, uuid: str, spec: VolumeSpec) -> None:
        name = volume_name(uuid)
        async with self._frozen_source(spec.source) as (source, covered):
            if source:
                self._engine_state.join_family(name, source)
            for place, piece in enumerate(spec.pieces):
                store = self._stores.get(piece.ssd_id)
                if source is None or place >= covered:
                    await self._stores.lvm.create(store.ssd, store.vg, name, piece.capacity)
                    continue
                await self._stores.lvm.snapshot(store.ssd, store.vg, source, name)
                await self._grow(await self._stores.mapper.read(), store, name, piece.capacity)

    @asynccontextmanager
    async def _frozen_source(self, source: Source | None) -> AsyncIterator[tuple[str | None, int]]:
        """A context in which the source does not change. Yields the name and the number of its
        logical volumes.
        """
        if source is None:
            yield None, 0
        elif source.kind.is_of_snapshot:
            taken = self._engine_state.snapshots[source.uuid]
            yield taken.name, len(taken.spec.pieces)
        else:
            entry = self._engine_state.volumes[source.uuid]
            async with self._fronts.frozen(entry):
                yield volume_name(source.uuid), entry.made

    def _check_source(self, mapped: Mapped, spec: VolumeSpec) -> None:
        source = spec.source
        if source is None:
            return
        if source.kind is SourceKind.CLONE_OF_VOLUME:
            self.there(mapped, source.uuid)
            return
        entry = self._engine_state.snapshots.get(source.uuid)
        what = f"snapshot {source.uuid}"
        if entry is None or not entry.is_made:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"{what} is not on this node")
        self._stores.refuse_lost(mapped, what, entry.name, entry.spec.pieces)

    async def _expand(self, entry: VolumeEntry, spec: VolumeSpec) -> VolumeEntry:
        name = volume_name(entry.uuid)
        async with self._stores.locks.hold(spec.pieces):
            mapped = await self._stores.mapper.read()
            check_space(self._stores, mapped, name, spec.pieces, entry.spec.pieces)
            check_sizes(self._stores, spec.pieces, spec.block_size)
            self._engine_state.put_volume(replace(entry, spec=spec, is_whole=False))
            for place, piece in enumerate(spec.pieces):
                store = self._stores.get(piece.ssd_id)
                if place < entry.made:
                    await self._grow(mapped, store, name, piece.capacity)
                    continue
                await self._stores.remove_lv(store, name)
                await self._stores.lvm.create(store.ssd, store.vg, name, piece.capacity)
            return self._engine_state.finish_volume(entry.uuid)

    async def _grow(self, mapped: Mapped, store: Store, lv: str, size: int) -> None:
        thin = store.thin(mapped, lv)
        if thin is None or thin.size < size:
            await self._stores.lvm.extend(store.ssd, store.vg, lv, size)

    async def _give_up(self, uuid: str, spec: VolumeSpec) -> None:
        """Remove all parts of a volume whose creation failed.

        :raises NodeRefused: NO_SPACE: this was the reason of the failure.
        """
        await self._clear(uuid)
        self._engine_state.drop_volume(uuid)
        mapped = await self._stores.mapper.read()
        check_space(self._stores, mapped, volume_name(uuid), spec.pieces)

    async def _clear(self, uuid: str) -> None:
        """Remove all parts of the volume on the usable SSDs. If there is no entry, only parts that
        the node left there before it lost its state can exist.
        """
        entry, name = self._engine_state.volumes.get(uuid), volume_name(uuid)
        if entry:
            await self._fronts.remove(entry)
            ssds = {piece.ssd_id for piece in entry.spec.pieces}
        else:
            mapped = await self._stores.mapper.read()
            ssds = {store.ssd.id for store in self._stores.all() if store.thin(mapped, name)}
        for store in self._stores.all():
            if store.ssd.id in ssds:
                await self._stores.remove_lv(store, name)
        self._engine_state.leave_family(name)
