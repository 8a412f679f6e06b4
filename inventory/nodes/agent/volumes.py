"""The rules for volumes."""

import logging
from collections.abc import Set

from inventory.nodes.agent.database import Database
from inventory.nodes.agent.fences import Fences, Name
from inventory.nodes.agent.locks import Locks
from inventory.nodes.agent.membership import Membership, refuse_other_owner, refuse_other_pool
from inventory.nodes.agent.presence import Presence
from inventory.nodes.agent.records import Records
from inventory.nodes.bounded import gather_bounded
from inventory.nodes.engines.base import Engine
from inventory.nodes.errors import NodeRefused
from inventory.nodes.layout import check_layout, refuse_difference, refuse_other_layout
from inventory.nodes.wire import Piece, RefusalCode, Source, Volume, VolumeSpec

log = logging.getLogger(__name__)


class Volumes:
    """The volumes of a node. They are created, expanded, limited and removed. Each change is made
    at most once.

    Because of the order of writes, a repeated call reaches the wanted state after a crash at any
    point. A volume is recorded after the engine has created it. So a recorded volume that is
    missing is lost, and is never created again. A removal is recorded as begun before the engine is
    told, and as done afterwards. An interrupted removal is finished by ``finish_removals``, by the
    next removal, or by the next write of a later generation.
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
        self._late: set[str] = set()

    async def list(self) -> tuple[Volume, ...]:
        """Return all volumes, ordered by uuid. Lost volumes, and those on missing SSDs, are
        omitted.
        """
        exported = self._records.exported()
        volumes = (await self._presence.volumes()).items()
        return tuple(self._shown(uuid, spec, uuid in exported) for uuid, spec in volumes)

    async def read(self, uuid: str) -> Volume:
        """Return the volume.

        :raises NodeRefused: NOT_FOUND
        """
        spec = self._records.volume(uuid)
        if spec is None:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"volume {uuid} is not on this node")
        try:
            await self._presence.require_volume(uuid, spec)
        except NodeRefused as lost:
            raise NodeRefused(RefusalCode.NOT_FOUND, lost.message) from lost
        return self._shown(uuid, spec, bool(self._records.targets_of(uuid)))

    async def ensure(self, uuid: str, spec: VolumeSpec) -> bool:
        """Ensure that the volume exists with this ``spec``. Returns True if it was created now.

        :raises NodeRefused: INVALID, STALE, NO_SPACE; CONFLICT: it exists, but differs; NOT_FOUND:
            an SSD or the source does not exist, or the volume was created once and is lost;
            UNAVAILABLE: an SSD is missing; IN_USE: the snapshot has a snapshot volume already.
        """
        check_layout(spec)
        name = Name(uuid)
        async with self._locks.hold(*{lock_of_volume(uuid), *_lock_of_source(spec.source)}):
            self._fences.admit(name, spec.generation)
            await self._finish_removal(uuid)
            if await self._is_there(uuid, spec):
                return False
            refuse_other_pool(self._membership.pool, spec.owner)
            self._fences.admit_new(name, spec.generation)
            try:
                await self._check_source(spec)
                # an unrecorded volume of that name, left by a crash, may have another content
                await self._engine.remove_volume(uuid)
                await self._engine.create_volume(uuid, spec)
                await self._engine.set_qos(uuid, spec.qos)
            except NodeRefused:
                self._fences.raise_to(name, spec.generation)
                raise
            with self._database.transaction():
                self._records.put_volume(uuid, spec)
                self._fences.raise_to(name, spec.generation)
            return True

    async def change(self, uuid: str, spec: VolumeSpec) -> None:
        """Change an existing volume to ``spec``: larger pieces, other limits, or other details of
        its owner. The volume is never created.

        :raises NodeRefused: INVALID, STALE, NO_SPACE; NOT_FOUND: the volume or an SSD does not
            exist; UNAVAILABLE: its SSD is missing; CONFLICT: this change is not possible.
        """
        check_layout(spec)
        async with self._locks.hold(lock_of_volume(uuid)):
            self._fences.admit(Name(uuid), spec.generation)
            await self._finish_removal(uuid)
            old = await self._presence.volume(uuid, spec.generation)
            refuse_other_owner(f"volume {uuid} of generation {old.generation}", old, spec)
            if spec.owner is None:
                spec = spec.model_copy(update={"owner": old.owner})
            refuse_difference(uuid, old, spec)
            if old.pieces != spec.pieces:
                await self._engine.expand_volume(uuid, spec)
            if old.qos != spec.qos:
                await self._engine.set_qos(uuid, spec.qos)
            if old != spec:
                self._records.put_volume(uuid, spec)

    async def remove(self, uuid: str, generation: int) -> None:
        """Remove the volume, and stop its copy to another node.

        :raises NodeRefused: STALE; IN_USE: it is in a target or has snapshots; UNAVAILABLE: a copy
            of it still writes.
        """
        name = Name(uuid)
        async with self._locks.hold(lock_of_volume(uuid)):
            self._fences.admit_removal(name, generation)
            if users := self._users(uuid):
                self._fences.raise_to(name, generation)
                raise NodeRefused(RefusalCode.IN_USE, f"volume {uuid} {users}")
            self._fences.raise_to(name, generation, removed=True)
            await self._take_away(uuid)

    async def restore(self) -> None:
        """Give the engine the limits of exported volumes after a start. ``repair_limits`` sets the
        limits of the other volumes, which no host can use.
        """
        there = (await self._presence.volumes()).keys()
        self._late = set(self._records.volumes())
        await self._limit(self._late & self._records.exported(), there)

    async def ensure_limited(self, uuid: str, spec: VolumeSpec) -> None:
        """Give the engine the limits of the volume, unless it got them since the start. The caller
        holds the lock of the volume.
        """
        if uuid in self._late:
            await self._engine.set_qos(uuid, spec.qos)
            self._late.discard(uuid)

    async def repair_limits(self) -> bool:
        """Set the limits that were not set since the start. A volume that is in use by another call
        is left for the next time. Returns True if all limits are set.
        """
        if self._late:
            await self._limit(self._late, (await self._presence.volumes()).keys())
        return not self._late

    async def _limit(self, late: Set[str], there: Set[str]) -> None:
        for uuid in sorted(late - there):
            log.error("volume %s is recorded, but not in the data plane", uuid)
        here = sorted(late & there)
        done = await gather_bounded(self._is_limited, here)
        limited = {uuid for uuid, is_so in zip(here, done, strict=True) if is_so}
        self._late -= limited | (late - there)

    async def finish_removals(self) -> bool:
        """Finish interrupted removals, which may take hours. Returns True if none is left."""
        removed = [one for one in self._records.volumes() if self._fences.is_removed(Name(one))]
        return not [uuid for uuid in removed if not await self._is_gone(uuid)]

    async def _is_limited(self, uuid: str) -> bool:
        if self._locks.is_held(lock_of_volume(uuid)):  # it may be removed, which may take hours
            return False
        async with self._locks.hold(lock_of_volume(uuid)):
            spec = self._records.volume(uuid)
            is_here = spec is not None and not self._fences.is_removed(Name(uuid))
            try:
                if spec is not None and is_here:
                    await self._engine.set_qos(uuid, spec.qos)
            except Exception:
                log.exception(
                    "the limits of volume %s could not be restored after the restart", uuid
                )
                return False
            return True

    async def _is_gone(self, uuid: str) -> bool:
        async with self._locks.hold(lock_of_volume(uuid)):
            try:
                await self._finish_removal(uuid)
            except Exception:
                log.exception("volume %s could not be removed after the restart", uuid)
                return False
            return True

    def _shown(self, uuid: str, spec: VolumeSpec, exported: bool) -> Volume:
        enforced = self._engine.enforced(spec.qos)
        return Volume(uuid=uuid, exported=exported, enforced_qos=enforced, **dict(spec))

    async def _is_there(self, uuid: str, spec: VolumeSpec) -> bool:
        """Whether the volume exists with this ``spec``.

        :raises NodeRefused: CONFLICT: the generation or another value differs; a refused generation
            is not recorded as seen. NOT_FOUND, UNAVAILABLE: the volume was created once, and is
            lost or on a missing SSD.
        """
        old = self._records.volume(uuid)
        if old is None:
            return False
        _check_same_volume(uuid, old, spec)
        refuse_difference(uuid, old, spec)
        if old != spec.model_copy(update={"owner": old.owner}):
            raise NodeRefused(
                RefusalCode.CONFLICT,
                f"volume {uuid} exists with {old.capacity} bytes and {old.qos}, not "
                f"{spec.capacity} and {spec.qos}: use PATCH to change it",
            )
        await self._presence.require_volume(uuid, old)
        return True

    async def _check_source(self, spec: VolumeSpec) -> None:
        """Check that the volume can be created from its source.

        :raises NodeRefused: NOT_FOUND, UNAVAILABLE, CONFLICT, IN_USE
        """
        source = spec.source
        if source is None:
            return
        refuse_other_layout(source, *await self._layout_of(source), spec)
        if not source.kind.is_snapshot_volume:
            return
        if other := self._records.snapshot_volume_of(source.uuid):
            raise NodeRefused(
                RefusalCode.IN_USE, f"snapshot {source.uuid} has the snapshot volume {other}"
            )

    async def _layout_of(self, source: Source) -> tuple[tuple[Piece, ...], int]:
        """Return the pieces and the block size of a source. A snapshot can be used even if the data
        of its volume is lost.

        :raises NodeRefused: NOT_FOUND, UNAVAILABLE
        """
        if not source.kind.is_of_snapshot:
            volume = await self._presence.volume(source.uuid, source.generation)
            return volume.pieces, volume.block_size
        snapshot = await self._presence.snapshot(source.uuid, source.generation)
        of = self._records.volume(snapshot.volume_uuid)
        assert of is not None, "a volume with snapshots is not removed"
        return snapshot.pieces, of.block_size

    def _users(self, uuid: str) -> str:
        """Return the reason why the volume cannot be removed. Empty: it can be removed."""
        if targets := self._records.targets_of(uuid):
            return f"is exported by {', '.join(targets)}"
        if snapshots := self._records.snapshots_of(uuid):
            return f"has the snapshots {', '.join(snapshots)}"
        return ""

    async def _finish_removal(self, uuid: str) -> None:
        if self._fences.is_removed(Name(uuid)) and self._records.volume(uuid):
            await self._take_away(uuid)

    async def _take_away(self, uuid: str) -> None:
        await self._engine.stop_copy(uuid)
        await self._engine.remove_volume(uuid)
        self._records.drop_volume(uuid)
        self._late.discard(uuid)


def _check_same_volume(uuid: str, old: VolumeSpec, spec: VolumeSpec) -> None:
    """Check that the generation is that of the existing volume. A volume keeps its generation for
    life, so a new volume never shows the data of a former one.

    A refused generation does not count as seen, because the former volume must still be removed
    with its own, older generation.
    """
    refuse_other_owner(f"volume {uuid} of generation {old.generation}", old, spec)
    if old.generation != spec.generation:
        raise NodeRefused(
            RefusalCode.CONFLICT,
            f"volume {uuid} still exists with generation {old.generation}, not {spec.generation}",
        )


def lock_of_volume(uuid: str) -> str:
    """The name of the volume's lock."""
    return f"volume {uuid}"


def lock_of_snapshot(uuid: str) -> str:
    """The name of the snapshot's lock."""
    return f"snapshot {uuid}"


def _lock_of_source(source: Source | None) -> set[str]:
    if source is None:
        return set()
    lock = lock_of_snapshot if source.kind.is_of_snapshot else lock_of_volume
    return {lock(source.uuid)}
