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
    """The copies of a node's volumes, one of each at most. Only their fences are recorded: the
    engine knows the copies, and loses them when it restarts.

    The same write again finds a copy that runs or is done: it is never done twice, for by then
    hosts may write the volume that was filled. It begins one anew that failed: its generation is
    the filled volume's, so there is no later one to ask with, and nobody who gave up is harmed: a
    removal bars it, and without its target it fails again. That no host writes the volume that is
    read is the provisioner's to watch, also for hosts that are connected.
    """

    def __init__(self, engine: Engine, records: Records, fences: Fences, locks: Locks) -> None:
        self._engine = engine
        self._fences = fences
        self._locks = locks
        self._presence = Presence(engine, records, fences)

    async def read(self, uuid: str) -> Sync:
        """:raises NodeRefused: NOT_FOUND"""
        sync = await self._engine.copy(uuid)
        if sync is None:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"no copy of volume {uuid} is known")
        return sync

    async def ensure(self, uuid: str, spec: SyncSpec) -> bool:
        """The volume is being copied as ``spec`` says, or was; True when the copy was begun.

        :raises NodeRefused: STALE, NOT_FOUND (the volume), UNAVAILABLE (its SSD is missing, or a
            copy of before is still written), CONFLICT.
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
        """No copy of the volume is written or known.

        :raises NodeRefused: STALE, UNAVAILABLE (it is still written, and its target is there).
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
