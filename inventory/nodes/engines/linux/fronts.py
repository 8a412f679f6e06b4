"""Each volume is one device for hosts: its logical volume or a front.

A front is a device over the logical volumes of a volume that spans SSDs, or over the logical volume
of a read-only volume. A front is lost when the machine restarts, and is created again from the
engine state.
"""

import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress

from inventory.nodes.engines.linux.engine_state import EngineState
from inventory.nodes.engines.linux.kernel import CommandFailed, NotAsAsked
from inventory.nodes.engines.linux.mapped import Mapped
from inventory.nodes.engines.linux.mapper import Segment, kinds
from inventory.nodes.engines.linux.names import MAPPER, front_name, vg_name, volume_name
from inventory.nodes.engines.linux.stores import Stores
from inventory.nodes.engines.records import VolumeEntry
from inventory.nodes.wire import Piece, SourceKind

log = logging.getLogger(__name__)


class Fronts:
    """Creates, suspends and removes fronts."""

    def __init__(self, stores: Stores, engine_state: EngineState) -> None:
        self._stores = stores
        self._mapper = stores.mapper
        self._engine_state = engine_state
        self._left_suspended: set[str] = set()

    async def restore(self) -> None:
        """Create the fronts whose pieces are all present, and log the other ones. All fronts are
        resumed.
        """
        self._left_suspended.clear()
        for entry in list(self._engine_state.volumes.values()):
            if entry.made and needs_front(entry):
                try:
                    await self.assemble(entry)
                except (NotAsAsked, CommandFailed) as error:
                    log.error("volume %s cannot be assembled: %s", entry.uuid, error)

    async def drop(self, ssd_ids: Collection[str]) -> None:
        """Remove the fronts over these SSDs, which have disappeared. Fronts that are in use
        stay.
        """
        for entry in list(self._engine_state.volumes.values()):
            if entry.made and any(piece.ssd_id in ssd_ids for piece in entry.made_pieces):
                with suppress(CommandFailed):
                    await self._mapper.remove(self._name(entry))

    async def assemble(self, entry: VolumeEntry) -> None:
        """Make the volume one device over all its existing pieces.

        :raises NotAsAsked: a piece is missing.
        """
        if not needs_front(entry):
            return
        mapped = await self._mapper.read()
        segments = self._segments(mapped, entry)
        name, is_read_only = self._name(entry), _is_read_only(entry)
        wanted = kinds(segments, is_read_only=is_read_only)
        if mapped.fronts.get(name) == wanted:
            return
        await self._mapper.make(name, segments, is_read_only=is_read_only)
        if (await self._mapper.read()).fronts.get(name) != wanted:
            raise NotAsAsked(f"device {name} does not consist of its sub-volumes")

    async def remove(self, entry: VolumeEntry) -> None:
        """Remove the front, if there is one.

        :raises CommandFailed: it is in use.
        """
        if needs_front(entry):
            await self._mapper.remove(self._name(entry))

    @asynccontextmanager
    async def frozen(self, entry: VolumeEntry) -> AsyncIterator[None]:
        """A context in which nothing is written to the pieces of the volume. A volume with one
        piece needs no front for this, because LVM suspends the piece itself.
        """
        if not needs_front(entry):
            yield
            return
        await self.assemble(entry)
        name = self._name(entry)
        try:
            await self._mapper.suspend(name)  # it may be done even if it fails
            yield
        finally:
            await self._resume(name)

    @property
    def are_resumed(self) -> bool:
        """Whether no front was left suspended. The next start of the engine resumes it."""
        return not self._left_suspended

    def device(self, mapped: Mapped, entry: VolumeEntry) -> str | None:
        """Return the device that hosts of the volume see. None: the volume is not complete."""
        lv = volume_name(entry.uuid)
        if not entry.made or not self._stores.are_there(mapped, lv, entry.made_pieces):
            return None
        if not needs_front(entry):
            return self.piece_device(entry, entry.spec.pieces[0])
        name = self._name(entry)
        return f"{MAPPER}{name}" if name in mapped.fronts else None

    def is_apart(self, mapped: Mapped, entry: VolumeEntry) -> bool:
        """Whether all pieces of the volume are present, but hosts cannot use it without a front."""
        is_there = self._stores.are_there(mapped, volume_name(entry.uuid), entry.made_pieces)
        return entry.made > 0 and is_there and self.device(mapped, entry) is None

    def piece_device(self, entry: VolumeEntry, piece: Piece) -> str:
        """Return the device of one piece."""
        store = self._stores.get(piece.ssd_id)
        return MAPPER + store.mapped_name(volume_name(entry.uuid))

    def names(self) -> set[str]:
        """The names of all fronts that should exist."""
        return {
            self._name(entry)
            for entry in self._engine_state.volumes.values()
            if entry.made and needs_front(entry) and self._stores.find(entry.spec.pieces[0].ssd_id)
        }

    async def _resume(self, name: str) -> None:
        try:
            await self._mapper.resume(name)
        except Exception:
            self._left_suspended.add(name)
            raise

    def _name(self, entry: VolumeEntry) -> str:
        vg = vg_name(entry.spec.pieces[0].ssd_id)
        return front_name(vg, volume_name(entry.uuid))

    def _segments(self, mapped: Mapped, entry: VolumeEntry) -> list[Segment]:
        """Return the logical volumes of the existing pieces, in order. Each must have its size,
        because the next piece follows it. Only the last one may be in the middle of an expansion.

        :raises NotAsAsked: a piece is missing or has another size.
        """
        segments = []
        for place, piece in enumerate(entry.made_pieces, 1):
            store = self._stores.find(piece.ssd_id)
            thin = store.thin(mapped, volume_name(entry.uuid)) if store else None
            if store is None or thin is None:
                raise NotAsAsked(f"its sub-volume on SSD {piece.ssd_id} is missing")
            is_fixed = entry.is_whole or place < entry.made
            if is_fixed and thin.size != piece.capacity:
                raise NotAsAsked(
                    f"its sub-volume on SSD {piece.ssd_id} has {thin.size} bytes, not "
                    f"{piece.capacity}"
                )
            segments.append(Segment(store.mapped_name(volume_name(entry.uuid)), thin.size))
        return segments


def needs_front(entry: VolumeEntry) -> bool:
    """Whether hosts see a front instead of a logical volume."""
    return entry.made > 1 or _is_read_only(entry)


def _is_read_only(entry: VolumeEntry) -> bool:
    source = entry.spec.source
    return source is not None and source.kind is SourceKind.READ_ONLY_SNAPSHOT_VOLUME
