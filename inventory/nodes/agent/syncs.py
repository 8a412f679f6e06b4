"""The rules for copies to other nodes."""

from inventory.nodes.agent.fences import Fences, Name
from inventory.nodes.agent.locks import Locks
from inventory.nodes.agent.presence import Presence
from inventory.nodes.agent.records import Records
from inventory.nodes.agent.volumes import lock_of_volume
from inventory.nodes.engines.base import Engine
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import RefusalCode, Sync, SyncSpec, SyncState


class Syncs:
    """The copies of the volumes of a node. A volume has at most one. Only their fences are
    recorded. The engine knows the copies, and loses them when it restarts.

    A repeated write finds the copy that runs or is done. A copy that is done is never repeated,
    because hosts may already write to the destination volume. A copy that failed is restarted: its
    generation is that of the destination volume, so a retry cannot have a later one. This is safe
    after a timeout of the caller, because the removal by the caller bars the write, and without its
    target the copy fails again. The provisioner must ensure that no host writes to the source
    volume, not even a host that is still connected.
    """

    def __init__(self, engine: Engine, records: Records, fences: Fences, locks: Locks) -> None:
        self._engine = engine
        self._fences = fences
        self._locks = locks
        self._presence = Presence(engine, records, fences)

    async def read(self, uuid: str) -> Sync:
        """Return the latest copy of the volume.

        :raises NodeRefused: NOT_FOUND
        """
        sync = await self._engine.copy(uuid)
        if sync is None:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"there is no copy of volume {uuid}")
        return sync

    async def ensure(self, uuid: str, spec: SyncSpec) -> bool:
        """Ensure that the copy in ``spec`` runs or is done. Returns True if it was started now.

        :raises NodeRefused: STALE, CONFLICT; NOT_FOUND: there is no such volume; UNAVAILABLE: its
            SSD is missing, or an earlier copy still writes.
        """
        name = Name.of_sync(uuid)
        async with self._locks.hold(lock_of_volume(uuid)):
            self._fences.admit(name, spec.generation)
            self._fences.raise_to(name, spec.generation)
            await self._presence.volume(uuid, spec.volume_generation)
            old = await self._engine.copy(uuid)
            if old is not None and old.generation == spec.generation:
                _check_same(uuid, old, spec)
                if old.state is not SyncState.FAILED:
                    return False
            await self._engine.stop_copy(uuid)
            await self._engine.start_copy(uuid, spec)
            return True

    async def remove(self, uuid: str, generation: int) -> None:
        """Stop and forget the copy of the volume.

        :raises NodeRefused: STALE; UNAVAILABLE: the copy still writes, and its target exists.
        """
        name = Name.of_sync(uuid)
        async with self._locks.hold(lock_of_volume(uuid)):
            self._fences.admit_removal(name, generation)
            self._fences.raise_to(name, generation, removed=True)
            await self._engine.stop_copy(uuid)


def _check_same(uuid: str, old: Sync, spec: SyncSpec) -> None:
    if not old.is_same(spec):
        raise NodeRefused(
            RefusalCode.CONFLICT,
            f"generation {spec.generation} of the copy of volume {uuid} goes to {_text(old)},"
            f" not to {_text(spec)}",
        )


def _text(spec: SyncSpec) -> str:
    return (
        f"namespace {spec.nsid} of {spec.nqn} as {spec.host_nqn}"
        f" from volume generation {spec.volume_generation}"
    )
