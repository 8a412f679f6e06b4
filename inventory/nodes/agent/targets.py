"""The rules for targets and their namespaces."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Container, Iterable, Sequence
from contextlib import asynccontextmanager

from inventory.nodes.agent.database import Database
from inventory.nodes.agent.fences import Fences, Name
from inventory.nodes.agent.locks import Locks
from inventory.nodes.agent.presence import Presence
from inventory.nodes.agent.records import NamespaceRecord, Records
from inventory.nodes.agent.volumes import Volumes, lock_of_volume
from inventory.nodes.bounded import gather_bounded
from inventory.nodes.engines.base import (
    NOTICE_SECONDS,
    Engine,
    Held,
    TargetState,
    VolumesLeftOut,
)
from inventory.nodes.errors import NodeRefused
from inventory.nodes.target_ids import ControllerIds
from inventory.nodes.wire import (
    Namespace,
    NamespaceSpec,
    RefusalCode,
    Target,
)

REUSE_SECONDS = 3600
"""For this time after a volume left a target, no other volume gets its namespace id there."""

CONTROLLERS = "controllers"
"""The setting that holds the controller ids of the node."""

log = logging.getLogger(__name__)


class Targets:
    """The exports of a node. The records are authoritative, and the engine always gets complete
    targets.

    A crash is handled as in :class:`Volumes`: an export is recorded after the engine has it, and
    barred before the engine removes it. ``restore`` makes the targets of the engine match the
    records.

    The engine keeps a target without namespaces for ``notice_seconds``, so that hosts notice that
    the namespaces were removed. In the API such a target no longer exists.
    """

    def __init__(
        self,
        engine: Engine,
        database: Database,
        records: Records,
        fences: Fences,
        locks: Locks,
        *,
        volumes: Volumes,
        notice_seconds: float = NOTICE_SECONDS,
    ) -> None:
        self._engine = engine
        self._database = database
        self._records = records
        self._fences = fences
        self._locks = locks
        self._volumes = volumes
        self._notice_seconds = notice_seconds
        self._presence = Presence(engine, records, fences)
        self._late: set[str] = set()
        self._emptied: dict[str, asyncio.Task[None]] = {}
        self._used: tuple[str, ...] = ()

    @property
    def known(self) -> frozenset[str]:
        """The NQNs of all targets that the engine may have, including those that will be removed
        soon.
        """
        return frozenset(self._records.hosts()) | self._emptied.keys()

    def close(self) -> None:
        """Cancel pending removals of empty targets; ``restore`` does them later."""
        for task in self._emptied.values():
            task.cancel()
        self._emptied.clear()

    async def list(self) -> tuple[Target, ...]:
        """Return all targets, ordered by NQN. Namespaces whose volumes are lost or on missing SSDs
        are omitted.
        """
        portals = (await self._engine.facts()).portals
        connected = await self._engine.connected_hosts()
        self._used = tuple(connected)
        controllers = await self._engine.controllers()
        members = _members(self._records.namespaces(), await self._presence.volumes())
        return tuple(
            Target(
                nqn=nqn,
                host_nqn=host_nqn,
                listeners=portals,
                namespaces=members.get(nqn, ()),
                connected_hosts=connected.get(nqn, ()),
                controllers=controllers.get(nqn),
            )
            for nqn, host_nqn in self._records.hosts().items()
        )

    async def read(self, nqn: str) -> Target:
        """Return the target.

        :raises NodeRefused: NOT_FOUND
        """
        host_nqn = self._records.host(nqn)
        if host_nqn is None:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"target {nqn} is not on this node")
        recorded = self._records.namespaces(nqn)
        there = await self._engine.held(Held(volumes={one.uuid for one in recorded}))
        return Target(
            nqn=nqn,
            host_nqn=host_nqn,
            listeners=(await self._engine.facts()).portals,
            namespaces=_members(recorded, there.volumes).get(nqn, ()),
            connected_hosts=(await self._engine.connected_hosts({nqn})).get(nqn, ()),
            controllers=(await self._engine.controllers({nqn})).get(nqn),
        )

    async def ensure(self, nqn: str, uuid: str, spec: NamespaceSpec) -> bool:
        """Ensure that the volume is in the target with this ``spec``. Returns True if it was not in
        the target before.

        :raises NodeRefused: STALE, CONFLICT, ID_IN_USE; NOT_FOUND: there is no such volume;
            UNAVAILABLE: its SSD is missing.
        """
        name = Name(uuid, nqn)
        async with self._hold(nqn, uuid):
            self._fences.admit(name, spec.generation)
            await self._finish_removal(nqn, uuid)
            self._number_controllers(spec.controllers)
            spec = spec.numbered(None)
            members = self._records.namespaces(nqn)
            old = self._records.namespace(nqn, uuid)
            try:
                await self._volumes.ensure_limited(uuid, await self._presence.volume(uuid))
                if old == spec:
                    host_nqn = self._records.host(nqn) or spec.host_nqn
                    await self._complete(self._state(nqn, host_nqn, members), uuid)
                    return False
                self._check(nqn, uuid, old, spec)
                others = [other for other in members if other.uuid != uuid]
                _check_members(others, spec)
                members = [*others, NamespaceRecord(nqn, uuid, spec)]
                await self._apply(self._state(nqn, spec.host_nqn, members), needed=uuid)
            except NodeRefused:
                self._fences.raise_to(name, spec.generation)
                raise
            with self._database.transaction():
                if old is not None and old.nsid != spec.nsid:
                    self._records.drop_namespace(nqn, uuid)
                self._records.put_namespace(nqn, uuid, spec)
                self._records.put_host(nqn, spec.host_nqn)
                self._fences.raise_to(name, spec.generation)
            return old is None

    async def remove(self, nqn: str, uuid: str, generation: int) -> None:
        """Remove the volume from the target. With the last namespace, the target is removed, too.

        :raises NodeRefused: STALE
        """
        name = Name(uuid, nqn)
        async with self._hold(nqn, uuid):
            self._fences.admit_removal(name, generation)
            self._fences.raise_to(name, generation, removed=True)
            await self._take_out(nqn, uuid)

    async def restore(self) -> None:
        """Finish interrupted removals after a start, and give the engine the recorded targets, the
        targets in use first.
        """
        for record in self._records.namespaces():
            if self._fences.is_removed(Name(record.uuid, record.nqn)):
                self._records.drop_namespace(record.nqn, record.uuid)
        self.close()
        self._records.forget_former(until=time.time() - REUSE_SECONDS)
        self._late = {*await self._engine.target_names(), *self._records.hosts()}
        await self._restore_late()
        # A volume that moved between targets must leave the first before it can enter the second.
        await self._restore_late()

    async def repair(self) -> bool:
        """Retry the targets that could not be restored or removed. A target in use by another call
        is left for the next time. Returns True if all targets are as recorded.
        """
        await self._restore_late()
        return not self._late

    async def _restore_late(self) -> None:
        if self._late:
            await gather_bounded(self._try_restore, self._by_use(self._late))

    def _by_use(self, names: Iterable[str]) -> Sequence[str]:
        """Return the targets in the order in which they are restored. Targets that had a connected
        host when they were last listed come first, then the others by the time of their latest
        namespace, the newest first.
        """
        changed = self._fences.namespaces_at()
        return sorted(names, key=lambda nqn: (nqn not in self._used, -changed.get(nqn, 0.0), nqn))

    @asynccontextmanager
    async def _hold(self, nqn: str, uuid: str) -> AsyncIterator[None]:
        """Hold the locks of the volume and of the target. The target's is always the last, so that
        other volumes can enter and leave the target while a call waits for this volume.
        """
        async with self._locks.hold(lock_of_volume(uuid)), self._locks.hold(_lock(nqn)):
            yield

    async def _try_restore(self, nqn: str) -> None:
        if self._locks.is_held(_lock(nqn)):
            return
        async with self._locks.hold(_lock(nqn)):
            try:
                await self._restore(nqn)
            except Exception:
                log.exception("target %s could not be restored, and is tried again", nqn)
            else:
                self._late.discard(nqn)

    async def _restore(self, nqn: str) -> None:
        host_nqn = self._records.host(nqn)
        if host_nqn is None:
            await self._empty(nqn)
        else:
            members = self._records.namespaces(nqn)
            await self._engine.apply_target(self._state(nqn, host_nqn, members))

    def _number_controllers(self, wanted: ControllerIds | None) -> None:
        """Record the controller ids of this node.

        :raises NodeRefused: CONFLICT: they overlap different, earlier ids of the node.
        """
        told = self._records.setting(CONTROLLERS, ControllerIds)
        if wanted is None or wanted == told:
            return
        if told is not None and told.overlaps(wanted):
            raise NodeRefused(
                RefusalCode.CONFLICT,
                f"the controller ids {told} of this node overlap {wanted}",
            )
        self._records.put_setting(CONTROLLERS, wanted)

    async def _complete(self, target: TargetState, uuid: str) -> None:
        """Give an existing target what it lacks: a volume that could not be restored, or the
        controller ids of the node, if no host is connected.
        """
        is_late, ids = target.nqn in self._late, target.controllers
        if is_late or (
            ids and ids != (await self._engine.controllers({target.nqn})).get(target.nqn)
        ):
            await self._apply(target, needed=uuid)

    async def _apply(self, target: TargetState, *, needed: str = "") -> None:
        """Give the engine the target. ``repair`` adds the volumes that it leaves out now.

        :raises VolumesLeftOut: ``needed`` is one of them.
        """
        try:
            await self._engine.apply_target(target)
        except VolumesLeftOut as error:
            self._late.add(target.nqn)
            if needed in error.uuids:
                raise
            log.error("%s: it is tried again", error)
        else:
            self._late.discard(target.nqn)

    def _state(self, nqn: str, host_nqn: str, members: Iterable[NamespaceRecord]) -> TargetState:
        found = list(members)
        return TargetState(
            nqn,
            host_nqn,
            {member.spec.nsid: member.uuid for member in found},
            by_piece=any(member.spec.by_piece for member in found),
            controllers=self._records.setting(CONTROLLERS, ControllerIds),
        )

    def _check(self, nqn: str, uuid: str, old: NamespaceSpec | None, spec: NamespaceSpec) -> None:
        if old is None or old.nsid != spec.nsid:
            self._check_id(nqn, uuid, spec.nsid)
        _check_same(nqn, uuid, old, spec)

    def _check_id(self, nqn: str, uuid: str, nsid: int) -> None:
        former = self._records.former(nqn, nsid, since=time.time() - REUSE_SECONDS)
        if former not in (None, uuid):
            raise NodeRefused(
                RefusalCode.ID_IN_USE,
                f"namespace id {nsid} of {nqn} belonged to volume {former} less than "
                f"{REUSE_SECONDS // 60} minutes ago",
            )

    async def _take_out(self, nqn: str, uuid: str) -> None:
        left = [other for other in self._records.namespaces(nqn) if other.uuid != uuid]
        host_nqn = self._records.host(nqn)
        if left and host_nqn:
            await self._apply(self._state(nqn, host_nqn, left))
        else:
            await self._empty(nqn)
        with self._database.transaction():
            self._records.drop_namespace(nqn, uuid)

    async def _empty(self, nqn: str) -> None:
        """Remove all namespaces from the target, and schedule its removal for the time when hosts
        have noticed this.
        """
        await self._engine.empty_target(nqn)
        if former := self._emptied.pop(nqn, None):
            former.cancel()
        self._emptied[nqn] = asyncio.create_task(self._remove_empty(nqn), name=f"emptied {nqn}")

    async def _remove_empty(self, nqn: str) -> None:
        """Remove the target. If that fails, ``repair`` tries again."""
        await asyncio.sleep(self._notice_seconds)
        async with self._locks.hold(_lock(nqn)):
            if self._emptied.get(nqn) is not asyncio.current_task():
                return
            try:
                if self._records.host(nqn) is None:
                    await self._engine.remove_target(nqn)
            except Exception:
                log.exception("target %s is empty and could not be removed", nqn)
                self._late.add(nqn)
            finally:
                self._emptied.pop(nqn, None)  # close() may have removed it

    async def _finish_removal(self, nqn: str, uuid: str) -> None:
        if self._fences.is_removed(Name(uuid, nqn)) and self._records.namespace(nqn, uuid):
            await self._take_out(nqn, uuid)


def _lock(nqn: str) -> str:
    return f"target {nqn}"


def _check_same(nqn: str, uuid: str, old: NamespaceSpec | None, spec: NamespaceSpec) -> None:
    if old is None:
        return
    if old.by_piece != spec.by_piece:
        raise NodeRefused(
            RefusalCode.CONFLICT,
            f"volume {uuid} is in {nqn} with byPiece = {old.by_piece}, not {spec.by_piece}",
        )
    if old.generation == spec.generation:
        raise NodeRefused(
            RefusalCode.CONFLICT,
            f"generation {old.generation} of volume {uuid} in {nqn} is namespace {old.nsid} for"
            f" host {old.host_nqn}, not {spec.nsid} for {spec.host_nqn}",
        )


def _check_members(others: Iterable[NamespaceRecord], spec: NamespaceSpec) -> None:
    for other in others:
        if spec.by_piece or other.spec.by_piece:
            raise NodeRefused(
                RefusalCode.CONFLICT,
                f"volume {other.uuid} is already in {other.nqn}: a volume that is exported by "
                "sub-volume must be alone in its target",
            )
        if other.spec.nsid == spec.nsid:
            raise NodeRefused(
                RefusalCode.ID_IN_USE,
                f"namespace {spec.nsid} of {other.nqn} is already volume {other.uuid}",
            )


def _members(
    recorded: Iterable[NamespaceRecord], there: Container[str]
) -> dict[str, tuple[Namespace, ...]]:
    """Return the namespaces that hosts can see, by NQN."""
    members: defaultdict[str, list[Namespace]] = defaultdict(list)
    for one in recorded:
        if one.uuid in there:
            members[one.nqn].append(_shown(one))
    return {nqn: tuple(found) for nqn, found in members.items()}


def _shown(record: NamespaceRecord) -> Namespace:
    return Namespace(
        volume_uuid=record.uuid, nsid=record.spec.nsid, generation=record.spec.generation
    )
