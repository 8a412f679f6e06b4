"""Checks that the object of a request exists, both in the records and in the data plane."""

from collections.abc import Iterable

from inventory.nodes.agent.fences import Fences, Name
from inventory.nodes.agent.records import Records
from inventory.nodes.engines.base import Engine, Held
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import Piece, RefusalCode, SnapshotSpec, VolumeSpec


class Presence:
    """The only code that decides whether an object exists on a node.

    A record alone does not prove this: an lvol may have vanished, or an SSD may have come back
    empty. An object that the engine does not have is lost: it is not listed, cannot be referred to,
    and is never created again.
    """

    def __init__(self, engine: Engine, records: Records, fences: Fences) -> None:
        self._engine = engine
        self._records = records
        self._fences = fences

    async def volumes(self) -> dict[str, VolumeSpec]:
        """Return all existing volumes, ordered by uuid. Records are read before the engine, so a
        volume that is created or removed at the same time is not returned.
        """
        recorded = self._records.volumes()
        held = (await self._engine.held()).volumes
        return {uuid: spec for uuid, spec in recorded.items() if uuid in held}

    async def snapshots(self) -> dict[str, SnapshotSpec]:
        """Return all existing snapshots. They are read like :meth:`volumes`."""
        recorded = self._records.snapshots()
        held = (await self._engine.held()).snapshots
        return {uuid: spec for uuid, spec in recorded.items() if uuid in held}

    async def volume(self, uuid: str, generation: int | None = None) -> VolumeSpec:
        """Return the volume. If a generation is given, the volume must have it.

        :raises NodeRefused: NOT_FOUND: it does not exist, is being removed, or is lost;
            UNAVAILABLE: its SSD is missing.
        """
        name, spec = Name(uuid), self._records.volume(uuid)
        if spec is None or self._is_other(name, spec.generation, generation):
            raise NodeRefused(
                RefusalCode.NOT_FOUND, f"{_text(name, generation)} is not on this node"
            )
        await self.require_volume(uuid, spec)
        return spec

    async def snapshot(self, uuid: str, generation: int | None = None) -> SnapshotSpec:
        """Return the snapshot. It works like :meth:`volume`."""
        name, spec = Name.of_snapshot(uuid), self._records.snapshot(uuid)
        if spec is None or self._is_other(name, spec.generation, generation):
            raise NodeRefused(
                RefusalCode.NOT_FOUND, f"{_text(name, generation)} is not on this node"
            )
        await self.require_snapshot(uuid, spec)
        return spec

    async def require_volume(self, uuid: str, spec: VolumeSpec) -> None:
        """Check that a recorded volume is in the data plane.

        :raises NodeRefused: NOT_FOUND: it is lost; UNAVAILABLE: its SSD is missing.
        """
        if uuid not in (await self._engine.held(Held(volumes={uuid}))).volumes:
            raise self._lost(Name(uuid), spec.pieces)

    async def require_snapshot(self, uuid: str, spec: SnapshotSpec) -> None:
        """Like :meth:`require_volume`, for a snapshot."""
        if uuid not in (await self._engine.held(Held(snapshots={uuid}))).snapshots:
            raise self._lost(Name.of_snapshot(uuid), spec.pieces)

    def _is_other(self, name: Name, there: int, asked: int | None) -> bool:
        return asked not in (None, there) or self._fences.is_removed(name)

    def _lost(self, name: Name, pieces: Iterable[Piece]) -> NodeRefused:
        what = _text(name, None)
        absent = {piece.ssd_id for piece in pieces} & self._engine.absent_ssds
        if absent:
            text = f"{what} is on {', '.join(sorted(absent))}, which is missing"
            return NodeRefused(RefusalCode.UNAVAILABLE, text)
        return NodeRefused(
            RefusalCode.NOT_FOUND, f"{what} is recorded, but this node lost its data"
        )


def _text(name: Name, generation: int | None) -> str:
    of = "" if generation is None else f" of generation {generation}"
    return f"{name.kind} {name.uuid}{of}"
