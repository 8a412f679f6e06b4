"""The rules for snapshots."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from inventory.nodes.agent.database import Database
from inventory.nodes.agent.fences import Fences, Name
from inventory.nodes.agent.locks import Locks
from inventory.nodes.agent.membership import Membership, refuse_other_owner, refuse_other_pool
from inventory.nodes.agent.presence import Presence
from inventory.nodes.agent.records import Records
from inventory.nodes.agent.volumes import lock_of_snapshot, lock_of_volume
from inventory.nodes.engines.base import Engine
from inventory.nodes.errors import NodeRefused
from inventory.nodes.layout import refuse_other_snapshot_layout
from inventory.nodes.wire import RefusalCode, Snapshot, SnapshotSpec

log = logging.getLogger(__name__)


class Snapshots:
    """The snapshots of a node. Each is taken and removed at most once.

    A crash is handled as in :class:`Volumes`. Lock order: first the snapshot, then volumes.
    """

    def __init__(
        self,
        engine: Engine,
        database: Database,
        records: Records,
        fences: Fences,
        locks: Locks,
        *,
        membership: Membership,
    ) -> None:
        self._engine = engine
        self._database = database
        self._records = records
        self._fences = fences
        self._locks = locks
        self._membership = membership
        self._presence = Presence(engine, records, fences)

    async def list(self) -> tuple[Snapshot, ...]:
        """Return all snapshots, ordered by uuid. Lost snapshots, and those on missing SSDs, are
        omitted.
        """
        there = await self._presence.snapshots()
        return tuple(_shown(uuid, spec) for uuid, spec in there.items())

    async def read(self, uuid: str) -> Snapshot:
        """Return the snapshot.

        :raises NodeRefused: NOT_FOUND
        """
        spec = self._records.snapshot(uuid)
        if spec is None:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"snapshot {uuid} is not on this node")
        try:
            await self._presence.require_snapshot(uuid, spec)
        except NodeRefused as lost:
            raise NodeRefused(RefusalCode.NOT_FOUND, lost.message) from lost
        return _shown(uuid, spec)

    async def ensure(self, uuid: str, spec: SnapshotSpec) -> bool:
        """Ensure that the snapshot exists with this ``spec``. Returns True if it was taken now.

        :raises NodeRefused: STALE, CONFLICT, NO_SPACE; NOT_FOUND: the volume does not exist, or the
            snapshot was taken once and is lost; UNAVAILABLE: an SSD is missing.
        """
        name = Name.of_snapshot(uuid)
        async with self._hold(uuid, spec.volume_uuid):
            self._fences.admit(name, spec.generation)
            await self._finish_removal(uuid)
            if await self._is_there(uuid, spec):
                return False
            refuse_other_pool(self._membership.pool, spec.owner)
            try:
                await self._check_volume(spec)
                await self._engine.remove_snapshot(uuid)  # an unrecorded one, left by a crash
                await self._engine.ensure_snapshot(uuid, spec)
            except NodeRefused:
                self._fences.raise_to(name, spec.generation)
                raise
            with self._database.transaction():
                self._records.put_snapshot(uuid, spec)
                self._fences.raise_to(name, spec.generation)
            return True

    async def remove(self, uuid: str, generation: int) -> None:
        """Remove the snapshot.

        :raises NodeRefused: STALE; IN_USE: it has a snapshot volume.
        """
        name = Name.of_snapshot(uuid)
        async with self._hold(uuid):
            self._fences.admit_removal(name, generation)
            volume = self._records.snapshot_volume_of(uuid)
            if volume is not None:
                self._fences.raise_to(name, generation)
                raise NodeRefused(
                    RefusalCode.IN_USE, f"snapshot {uuid} has the snapshot volume {volume}"
                )
            self._fences.raise_to(name, generation, removed=True)
            await self._take_away(uuid)

    @asynccontextmanager
    async def _hold(self, uuid: str, *volumes: str) -> AsyncIterator[None]:
        """Hold the locks of the snapshot, of ``volumes``, and of the volume in the record of the
        snapshot.
        """
        async with self._locks.hold(lock_of_snapshot(uuid)):
            old = self._records.snapshot(uuid)
            names = {*volumes, *([old.volume_uuid] if old else [])}
            async with self._locks.hold(*map(lock_of_volume, names)):
                yield

    async def finish_removals(self) -> bool:
        """Finish interrupted removals, which may take a long time. Returns True if none is left."""
        snapshots = self._records.snapshots()
        removed = [one for one in snapshots if self._fences.is_removed(Name.of_snapshot(one))]
        return not [uuid for uuid in removed if not await self._is_gone(uuid)]

    async def _is_gone(self, uuid: str) -> bool:
        async with self._hold(uuid):
            try:
                await self._finish_removal(uuid)
            except Exception:
                log.exception("snapshot %s could not be removed after the restart", uuid)
                return False
            return True

    async def _is_there(self, uuid: str, spec: SnapshotSpec) -> bool:
        """Whether the snapshot exists. If so, the details of its owner are updated.

        :raises NodeRefused: CONFLICT: the generation or another value differs; a refused generation
            is not recorded as seen. NOT_FOUND, UNAVAILABLE: the snapshot was taken once, and is
            lost or on a missing SSD.
        """
        old = self._records.snapshot(uuid)
        if old is None:
            return False
        refuse_other_owner(f"snapshot {uuid} of generation {old.generation}", old, spec)
        if spec != old and spec != old.model_copy(update={"owner": spec.owner}):
            raise NodeRefused(
                RefusalCode.CONFLICT, f"snapshot {uuid} is {_text(old)}, not {_text(spec)}"
            )
        await self._presence.require_snapshot(uuid, old)
        if spec.owner and spec.owner != old.owner:
            self._records.put_snapshot(uuid, spec)
        return True

    async def _check_volume(self, spec: SnapshotSpec) -> None:
        volume = await self._presence.volume(spec.volume_uuid, spec.volume_generation)
        refuse_other_snapshot_layout(volume, spec)

    async def _finish_removal(self, uuid: str) -> None:
        if self._fences.is_removed(Name.of_snapshot(uuid)) and self._records.snapshot(uuid):
            await self._take_away(uuid)

    async def _take_away(self, uuid: str) -> None:
        await self._engine.remove_snapshot(uuid)
        self._records.drop_snapshot(uuid)


def _shown(uuid: str, spec: SnapshotSpec) -> Snapshot:
    return Snapshot(uuid=uuid, **dict(spec))


def _text(spec: SnapshotSpec) -> str:
    sizes = [(p.ssd_id, p.capacity, p.allocated) for p in spec.pieces]
    volume = f"volume {spec.volume_uuid} of generation {spec.volume_generation}"
    return f"generation {spec.generation} of {volume} with {sizes}"
