"""An engine that counts bytes, but stores no data."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from inventory.nodes.agent.database import Database
from inventory.nodes.drift import DriftItem, DriftKind
from inventory.nodes.engines.base import EngineFacts, Held, Known, TargetState
from inventory.nodes.engines.simulated.copies import Copies
from inventory.nodes.engines.simulated.engine_state import EngineState
from inventory.nodes.engines.simulated.network import Network
from inventory.nodes.errors import NodeRefused
from inventory.nodes.layout import refuse_difference
from inventory.nodes.probes import Changes
from inventory.nodes.target_ids import ANY_CONTROLLERS, ControllerIds
from inventory.nodes.wire import (
    Piece,
    Portal,
    Qos,
    RefusalCode,
    SnapshotSpec,
    Source,
    Ssd,
    Sync,
    SyncSpec,
    VolumeSpec,
)

COPY_RATE = 2**30


class SimulatedEngine:
    """Volumes and snapshots are database rows, so they survive the process. Targets, QoS and copies
    are in memory.

    ``strange``: differences that tests created without the agent. ``faults``: errors of targets
    that the kernel of a host would refuse. The free space of an SSD is its capacity minus the exact
    allocations of its pieces. Copies go to engines of the same ``network``, at ``copy_rate`` bytes
    per second.
    """

    def __init__(
        self,
        node: str,
        database: Database,
        facts: EngineFacts,
        *,
        network: Network | None = None,
        copy_rate: int = COPY_RATE,
    ) -> None:
        self.on_change: Callable[[int], None] = lambda changes: None
        self.is_full = False
        self.qos: dict[str, Qos] = {}
        self.faults: list[str] = []
        self._subsystems: dict[str, TargetState] = {}
        self.hosts: dict[str, tuple[str, ...]] = {}
        self.is_cut_off = False
        self.strange: tuple[DriftItem, ...] = ()
        self.engine_state = EngineState(node, database)
        self.network = network or Network()
        self.network.join(self)
        self.copies = Copies(self, self.network, copy_rate)
        self._pristine_rate = copy_rate
        self._facts = self._pristine = facts
        self._used = self._count_used()

    @property
    def absent_ssds(self) -> frozenset[str]:
        return frozenset()

    async def start(self) -> None:
        """Restart the engine. Everything that SPDK would lose is lost."""
        self._lose()

    async def facts(self) -> EngineFacts:
        return replace(self._facts, ssds=self.ssds)

    @property
    def ssds(self) -> tuple[Ssd, ...]:
        """The SSDs with their current free space."""
        return tuple(ssd.model_copy(update={"free": self._free(ssd)}) for ssd in self._facts.ssds)

    @property
    def portals(self) -> tuple[Portal, ...]:
        return self._facts.portals

    @property
    def targets(self) -> Mapping[str, TargetState]:
        """The targets with namespaces. Targets without namespaces will be removed soon."""
        return {nqn: one for nqn, one in dict(self._subsystems).items() if one.namespaces}

    def volume(self, uuid: str) -> VolumeSpec | None:
        """Return the volume in the engine, whether the agent has it on record or not."""
        return self.engine_state.volume(uuid)

    def volumes(self) -> dict[str, VolumeSpec]:
        """All volumes that the engine holds."""
        return self.engine_state.volumes()

    def snapshots(self) -> dict[str, SnapshotSpec]:
        """All snapshots that the engine holds."""
        return self.engine_state.snapshots()

    def read(self, uuid: str) -> str:
        """Return the mark that represents the content of the volume. "" means zeros.

        :raises NodeRefused: NOT_FOUND
        """
        self._there(uuid)
        return self.engine_state.mark(uuid)

    def write(self, uuid: str, mark: str) -> None:
        """Set the mark, as if a host wrote the whole volume.

        :raises NodeRefused: NOT_FOUND
        """
        self._there(uuid)
        self.engine_state.put_mark(uuid, mark)

    async def held(self, only: Held | None = None) -> Held:
        await asyncio.sleep(0)
        return Held(self.engine_state.names("volume"), self.engine_state.names("snapshot"))

    async def create_volume(self, uuid: str, spec: VolumeSpec) -> None:
        await asyncio.sleep(0)
        if self.volume(uuid) is not None:
            raise NodeRefused(RefusalCode.CONFLICT, f"volume {uuid} exists already")
        if spec.source is not None:
            self._check_source(spec.source)
        more = _allocations(spec.pieces)
        self._check_space(more)
        self.engine_state.make_volume(uuid, spec)
        self._use(more)

    async def expand_volume(self, uuid: str, spec: VolumeSpec) -> None:
        await asyncio.sleep(0)
        there = self._there(uuid)
        refuse_difference(uuid, there, spec)
        more = _allocations(spec.pieces)
        for ssd_id, size in _allocations(there.pieces).items():
            more[ssd_id] -= size
        self._check_space(more)
        self.engine_state.put_volume(uuid, spec)
        self._use(more)

    async def remove_volume(self, uuid: str) -> None:
        await asyncio.sleep(0)
        there = self.volume(uuid)
        if there is None:
            return
        self.engine_state.drop_volume(uuid)
        self.qos.pop(uuid, None)
        for ssd_id, size in _allocations(there.pieces).items():
            self._used[ssd_id] -= size

    async def ensure_snapshot(self, uuid: str, spec: SnapshotSpec) -> None:
        await asyncio.sleep(0)
        if uuid in self.snapshots():
            return
        self._there(spec.volume_uuid)
        more = _allocations(spec.pieces)
        self._check_space(more)
        self.engine_state.take_snapshot(uuid, spec)
        self._use(more)

    async def remove_snapshot(self, uuid: str) -> None:
        await asyncio.sleep(0)
        there = self.snapshots().get(uuid)
        if there is None:
            return
        self.engine_state.drop_snapshot(uuid)
        for ssd_id, size in _allocations(there.pieces).items():
            self._used[ssd_id] -= size

    async def set_qos(self, uuid: str, qos: Qos) -> None:
        await asyncio.sleep(0)
        self._there(uuid)
        self.qos[uuid] = qos

    def enforced(self, qos: Qos) -> Qos:
        return qos

    async def apply_target(self, target: TargetState) -> None:
        """See :class:`Engine`. Missing volumes are omitted, as with SPDK."""
        await asyncio.sleep(0)
        present = {nsid: uuid for nsid, uuid in target.namespaces.items() if self.volume(uuid)}
        target = replace(target, namespaces=present)
        there = self._subsystems.get(target.nqn)
        if there is not None and there.controllers != target.controllers:
            if target.controllers is None or self.hosts.get(target.nqn):
                target = replace(target, controllers=there.controllers)
            else:
                self.network.initiators.disconnect(self, there)
        self._put_target(target)

    async def empty_target(self, nqn: str) -> None:
        await asyncio.sleep(0)
        if target := self._subsystems.get(nqn):
            self._put_target(replace(target, namespaces={}))

    async def remove_target(self, nqn: str) -> None:
        await asyncio.sleep(0)
        self.hosts.pop(nqn, None)
        if target := self._subsystems.pop(nqn, None):
            self.network.initiators.remove(self, target)
            self.network.changed()

    def _put_target(self, target: TargetState) -> None:
        self._subsystems[target.nqn] = target
        self.network.initiators.apply(self, target)
        self.network.changed()

    async def target_names(self) -> tuple[str, ...]:
        return tuple(self._subsystems)

    async def connected_hosts(
        self, only: Collection[str] | None = None
    ) -> dict[str, tuple[str, ...]]:
        return {nqn: hosts for nqn, hosts in self.hosts.items() if nqn in self._subsystems}

    async def controllers(self, only: Collection[str] | None = None) -> dict[str, ControllerIds]:
        return {nqn: one.controllers or ANY_CONTROLLERS for nqn, one in self._subsystems.items()}

    async def start_copy(self, uuid: str, spec: SyncSpec) -> None:
        await asyncio.sleep(0)
        self.copies.begin(uuid, self._there(uuid), spec)

    async def copy(self, uuid: str) -> Sync | None:
        return self.copies.read(uuid)

    async def stop_copy(self, uuid: str) -> None:
        await asyncio.sleep(0)
        self.copies.end(uuid)

    async def drift(self, known: Known) -> tuple[DriftItem, ...]:
        held = await self.held()
        lost = (known.volumes.keys() - held.volumes) | (known.snapshots.keys() - held.snapshots)
        return (*self.strange, *(DriftItem(kind=DriftKind.LOST, name=one) for one in sorted(lost)))

    def lose(self, uuid: str) -> None:
        """Lose a volume or snapshot, with its namespaces and its copy. The agent still has it on
        record.
        """
        there = self.volume(uuid)
        snapshot = self.snapshots().get(uuid)
        self.engine_state.drop_volume(uuid)
        self.engine_state.drop_snapshot(uuid)
        self.qos.pop(uuid, None)
        pieces = chain(there.pieces if there else (), snapshot.pieces if snapshot else ())
        self._use({ssd_id: -size for ssd_id, size in _allocations(pieces).items()})
        self.copies.lose(uuid)
        for target in tuple(self._subsystems.values()):
            left = {nsid: one for nsid, one in target.namespaces.items() if one != uuid}
            if left != target.namespaces:
                self._put_target(replace(target, namespaces=left))

    def cut_off(self, is_cut_off: bool) -> None:
        """Cut the connections to and from other nodes, or restore them."""
        self.is_cut_off = is_cut_off
        self.network.changed()

    def change(self, **facts: Any) -> None:
        """Change facts, and tell the agent about new portals and SSDs."""
        before = self._facts
        self._facts = replace(before, **facts)
        if before.portals != self._facts.portals:
            self.network.changed()
            self.on_change(Changes.PORTALS)
        if before.ssds != self._facts.ssds:
            self.on_change(0)

    def reset(self) -> None:
        """Make the engine like a new one, after the database was cleared."""
        self._facts = self._pristine
        self.is_full = False
        self.strange = ()
        self.faults.clear()
        self.hosts.clear()
        self.network.initiators.clear()
        self._lose()
        self.copies.set_rate(self._pristine_rate)

    def _lose(self) -> None:
        self.qos.clear()
        self._subsystems.clear()
        self.copies.clear()
        self._used = self._count_used()
        self.network.changed()

    def _there(self, uuid: str) -> VolumeSpec:
        volume = self.volume(uuid)
        if volume is None:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"volume {uuid} is not on this node")
        return volume

    def _count_used(self) -> dict[str, int]:
        volumes = (piece for spec in self.volumes().values() for piece in spec.pieces)
        snapshots = (piece for spec in self.snapshots().values() for piece in spec.pieces)
        return _allocations(chain(volumes, snapshots))

    def _use(self, more: dict[str, int]) -> None:
        for ssd_id, size in more.items():
            self._used[ssd_id] = self._used.get(ssd_id, 0) + size

    def _check_source(self, source: Source) -> None:
        there = self.snapshots() if source.kind.is_of_snapshot else self.volumes()
        if source.uuid not in there:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"source {source.uuid} is not on this node")

    def _free(self, ssd: Ssd) -> int:
        if self.is_full:
            return 0
        return max(0, ssd.capacity - ssd.outgrown - self._used.get(ssd.ssd_id, 0))

    def _check_space(self, more: dict[str, int]) -> None:
        ssds = {ssd.ssd_id: ssd for ssd in self._facts.ssds}
        for ssd_id, size in more.items():
            if ssd_id not in ssds:
                raise NodeRefused(RefusalCode.NOT_FOUND, f"SSD {ssd_id} is not on this node")
            free = self._free(ssds[ssd_id])
            if size > free:
                raise NodeRefused(
                    RefusalCode.NO_SPACE, f"SSD {ssd_id} has less than {size} bytes free"
                )


def _allocations(pieces: Iterable[Piece]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for piece in pieces:
        sums[piece.ssd_id] = sums.get(piece.ssd_id, 0) + piece.allocated
    return sums
