"""Volumes: creates, expands and removes their pieces."""

from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

from inventory.nodes.engines.records import VolumeEntry
from inventory.nodes.engines.spdk.admission import check_sizes, check_space
from inventory.nodes.engines.spdk.concat_volumes import ConcatVolumes
from inventory.nodes.engines.spdk.kept_state import KeptState
from inventory.nodes.engines.spdk.names import volume_name
from inventory.nodes.engines.spdk.presence import refuse_lost, volume_there
from inventory.nodes.engines.spdk.rpc import NotAsAsked, RpcRefused
from inventory.nodes.engines.spdk.snapshot_tree import Parts
from inventory.nodes.engines.spdk.spdk_state import Bdev, Lvol, Lvstore
from inventory.nodes.engines.spdk.subsystems import find_exporter
from inventory.nodes.errors import NodeRefused
from inventory.nodes.layout import refuse_difference, refuse_shifted
from inventory.nodes.wire import (
    ProvisioningType,
    RefusalCode,
    Source,
    SourceKind,
    VolumeSpec,
)


class Volumes:
    """Creates, expands and removes volumes."""

    def __init__(self, parts: Parts, concat_volumes: ConcatVolumes) -> None:
        self._rpc = parts.rpc
        self._spdk_state = parts.spdk_state
        self._stores = parts.stores
        self._engine_state = parts.engine_state
        self._lvols = parts.lvols
        self._snapshot_tree = parts.snapshot_tree
        self._concat_volumes = concat_volumes

    async def create(self, uuid: str, spec: VolumeSpec) -> None:
        """See :class:`Engine`."""
        entry = self._engine_state.volumes.get(uuid)
        if entry is not None and entry.made:
            raise NodeRefused(RefusalCode.CONFLICT, f"volume {uuid} exists already")
        await self._make(uuid, spec)
        await self._concat_volumes.ready(self._engine_state.volumes[uuid])

    async def expand(self, uuid: str, spec: VolumeSpec) -> None:
        """See :class:`Engine`."""
        spdk_state = await self._spdk_state.current()
        entry = await volume_there(self._stores, spdk_state, self._engine_state, uuid)
        if entry.spec != spec or not entry.is_whole:
            refuse_difference(uuid, entry.spec, spec)
            await self._expand(entry, spec)
        await self._concat_volumes.ready(self._engine_state.volumes[uuid])

    async def remove(self, uuid: str) -> None:
        """See :class:`Engine`.

        :raises NodeRefused: UNAVAILABLE: a piece is on a missing SSD; IN_USE: a target exports it.
        """
        spdk_state = await self._spdk_state.current()
        ssds = self._recorded(uuid)
        await self._refuse_missing(spdk_state, ssds)
        await self._refuse_exported(uuid)
        for ssd_id in sorted(await self._clear(spdk_state, uuid, ssds)):
            await self._snapshot_tree.sweep(ssd_id)
        await self._refuse_missing(spdk_state, ssds)
        self._engine_state.drop_volume(uuid)

    async def _make(self, uuid: str, spec: VolumeSpec) -> None:
        async with self._stores.locks.hold(spec.pieces):
            spdk_state = await self._spdk_state.current()
            await self._stores.look(piece.ssd_id for piece in spec.pieces)
            await self._check_source(spdk_state, spec)
            await check_space(self._stores, spdk_state, volume_name(uuid), spec.pieces)
            check_sizes(self._stores, spdk_state, spec.pieces, spec.block_size)
            former = self._recorded(uuid)
            self._engine_state.put_volume(VolumeEntry(uuid, spec))
        await self._clear(spdk_state, uuid, former)
        try:
            for place in range(len(spec.pieces)):
                await self._make_piece(spdk_state, uuid, spec, place, spec.source)
        except RpcRefused:
            await self._give_up(uuid, spec)
            raise
        await self._stores.refuse_reloaded(piece.ssd_id for piece in spec.pieces)
        self._engine_state.finish_volume(uuid)

    async def _give_up(self, uuid: str, spec: VolumeSpec) -> None:
        """Delete all parts of a volume whose creation failed. What cannot be deleted stays on
        record.

        :raises NodeRefused: NO_SPACE: this was the reason of the failure; UNAVAILABLE: an SSD is
            missing.
        """
        spdk_state = await self._spdk_state.current()
        await self._clear(spdk_state, uuid, self._recorded(uuid))
        for piece in spec.pieces:
            await self._snapshot_tree.sweep(piece.ssd_id)
        self._engine_state.drop_volume(uuid)
        await self._stores.count(piece.ssd_id for piece in spec.pieces)
        await check_space(self._stores, spdk_state, volume_name(uuid), spec.pieces)

    async def _make_piece(
        self, spdk_state: KeptState, uuid: str, spec: VolumeSpec, place: int, source: Source | None
    ) -> None:
        piece, name = spec.pieces[place], volume_name(uuid)
        lvstore = self._stores.get(spdk_state, piece.ssd_id)
        method = self._stores.clear_method(piece.ssd_id)
        async with self._base(spdk_state, lvstore, source, place) as base:
            if base is None:
                is_thin = spec.provisioning_type is ProvisioningType.THIN
                await self._lvols.create(
                    lvstore, name, piece.capacity, is_thin=is_thin, clear_method=method
                )
            else:
                await self._lvols.derive(lvstore, name, piece.capacity, base, clear_method=method)
        if source and source.kind is SourceKind.READ_ONLY_SNAPSHOT_VOLUME:
            await self._lvols.set_read_only(lvstore, name)

    @asynccontextmanager
    async def _base(
        self, spdk_state: KeptState, lvstore: Lvstore, source: Source | None, place: int
    ) -> AsyncIterator[Lvol | None]:
        """Yield the snapshot from which a piece is created. None: there is no source, or the source
        has no such piece.
        """
        if source is None:
            yield None
        elif source.kind.is_of_snapshot:
            entry = self._engine_state.snapshots[source.uuid]
            is_covered = place < len(entry.spec.pieces)
            found = spdk_state.find(lvstore, entry.name) if is_covered else None
            if found is None and is_covered:
                raise NotAsAsked(f"{entry.name} is not on {lvstore.name}")
            yield found
        elif place < self._engine_state.volumes[source.uuid].made:
            async with self._snapshot_tree.frozen(lvstore, volume_name(source.uuid)) as frozen:
                yield frozen
        else:
            yield None

    async def _check_source(self, spdk_state: KeptState, spec: VolumeSpec) -> None:
        source = spec.source
        if source is None:
            return
        if source.kind is SourceKind.CLONE_OF_VOLUME:
            there = await volume_there(self._stores, spdk_state, self._engine_state, source.uuid)
            await self.require_freezable(there)
            return
        entry = self._engine_state.snapshots.get(source.uuid)
        if entry is None or not entry.is_made:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"snapshot {source.uuid} is not on this node")
        what = f"snapshot {source.uuid}"
        await refuse_lost(self._stores, spdk_state, what, entry.name, entry.spec.pieces)

    async def require_freezable(self, entry: VolumeEntry) -> None:
        """Check that the volume's pieces can be frozen at one moment. SPDK can stop the writes to
        one lvol, but not to several.

        :raises NodeRefused: CONFLICT: the volume spans SSDs and is exported.
        """
        bdevs = await self._concat_volumes.look(entry.uuid) if entry.made > 1 else []
        if nqn := await find_exporter(self._rpc, bdevs):
            raise NodeRefused(
                RefusalCode.CONFLICT,
                f"volume {entry.uuid} is on {entry.made} SSDs and is exported by {nqn}: its "
                "sub-volumes cannot be frozen at one moment",
            )

    async def _expand(self, entry: VolumeEntry, spec: VolumeSpec) -> None:
        async with self._stores.locks.hold(spec.pieces):
            spdk_state = await self._spdk_state.current()
            await self._stores.look(piece.ssd_id for piece in spec.pieces)
            bdevs = await self._concat_volumes.look(entry.uuid)
            is_span = len(spec.pieces) > 1 and self._differs(entry, spec)
            if is_span:
                await self._refuse_online(bdevs, entry, spec)
            name, had = volume_name(entry.uuid), entry.spec.pieces
            await check_space(self._stores, spdk_state, name, spec.pieces, had)
            check_sizes(self._stores, spdk_state, spec.pieces, spec.block_size)
            await self._stores.refuse_reloaded(piece.ssd_id for piece in spec.pieces)
            self._engine_state.put_volume(replace(entry, spec=spec, is_whole=False))
            if is_span:
                await self._concat_volumes.disassemble(entry.uuid)
            await self._expand_pieces(spdk_state, entry, spec)
            await self._stores.refuse_reloaded(piece.ssd_id for piece in spec.pieces)
            self._engine_state.finish_volume(entry.uuid)

    async def _expand_pieces(
        self, spdk_state: KeptState, entry: VolumeEntry, spec: VolumeSpec
    ) -> None:
        name = volume_name(entry.uuid)
        for place, piece in enumerate(spec.pieces):
            lvstore = self._stores.get(spdk_state, piece.ssd_id)
            if place < entry.made:
                await self._lvols.grow(lvstore, name, piece.capacity)
                continue
            if place < len(entry.spec.pieces) or await spdk_state.look(lvstore, name):
                await self._lvols.delete(lvstore, name)
            await self._make_piece(spdk_state, entry.uuid, spec, place, None)

    def _differs(self, entry: VolumeEntry, spec: VolumeSpec) -> bool:
        """Whether the volume is not yet as large as ``spec``."""
        bdev = self._concat_volumes.bdev(entry)
        return entry.made < len(spec.pieces) or bdev is None or bdev.size != spec.capacity

    async def _refuse_online(
        self, bdevs: Iterable[Bdev], entry: VolumeEntry, spec: VolumeSpec
    ) -> None:
        """Check that the volume may be recreated. A concat raid has a fixed size, so it is deleted
        and created again. No host may use it at that time. ``bdevs``: the bdevs of the volume,
        which were just read.
        """
        refuse_shifted(entry.uuid, entry.made_pieces, spec.pieces)
        if nqn := await find_exporter(self._rpc, bdevs):
            raise NodeRefused(
                RefusalCode.CONFLICT,
                f"volume {entry.uuid} cannot be expanded to {spec.capacity} bytes over"
                f" {len(spec.pieces)} SSDs while it is exported by {nqn}",
            )

    async def _refuse_exported(self, uuid: str) -> None:
        """Check that no target exports the volume, because SPDK would delete it while hosts use
        it.
        """
        if nqn := await find_exporter(self._rpc, await self._concat_volumes.look(uuid)):
            raise NodeRefused(RefusalCode.IN_USE, f"volume {uuid} is exported by {nqn}")

    async def _refuse_missing(self, spdk_state: KeptState, ssds: Collection[str]) -> None:
        await self._stores.look(ssds)
        self._stores.refuse_missing(spdk_state, ssds)

    def _recorded(self, uuid: str) -> set[str]:
        """The SSDs where the volume has or may have pieces."""
        entry = self._engine_state.volumes.get(uuid)
        return {piece.ssd_id for piece in entry.spec.pieces} if entry else set()

    async def _clear(self, spdk_state: KeptState, uuid: str, ssds: Collection[str]) -> set[str]:
        """Delete all parts of the volume on the usable SSDs. Returns the SSDs where something was
        deleted. On ``ssds``, SPDK is told to delete it in any case: it hides an lvol that it could
        not delete.

        :raises NodeRefused: UNAVAILABLE: one of ``ssds`` is missing.
        """
        await self._concat_volumes.disassemble(uuid)
        self._stores.refuse_missing(spdk_state, ssds)
        cleared = set()
        for ssd_id, lvstore in self._stores.open_ones(spdk_state).items():
            if ssd_id in ssds or spdk_state.find(lvstore, volume_name(uuid)):
                await self._lvols.delete(lvstore, volume_name(uuid))
                cleared.add(ssd_id)
        return cleared
