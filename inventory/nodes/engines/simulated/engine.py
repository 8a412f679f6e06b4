"""An engine that keeps books instead of bytes."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain
from typing import Any

from inventory.nodes.agent.database import Database
from inventory.nodes.engines.base import EngineFacts, TargetState
from inventory.nodes.errors import NodeRefused
from inventory.nodes.layout import refuse_difference
from inventory.nodes.wire import (
    Changes,
    Piece,
    Qos,
    RefusalCode,
    SnapshotSpec,
    Source,
    Ssd,
    VolumeSpec,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS simulated_volume (
    node TEXT, uuid TEXT, spec TEXT NOT NULL,
    PRIMARY KEY (node, uuid)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS simulated_snapshot (
    node TEXT, uuid TEXT, spec TEXT NOT NULL,
    PRIMARY KEY (node, uuid)
) WITHOUT ROWID;
"""


class SimulatedEngine:
    """Volumes and snapshots are rows in the database, so they outlive the process; targets and QoS
    are memory.

    An SSD's free space is its capacity less what the pieces on it allocate, to the byte.
    """

    def __init__(self, node: str, database: Database, facts: EngineFacts) -> None:
        database.create(SCHEMA)
        self.on_change: Callable[[int], None] = lambda changes: None
        self.is_full = False
        self.qos: dict[str, Qos] = {}
        self.targets: dict[str, TargetState] = {}
        self.hosts: dict[str, tuple[str, ...]] = {}
        self._node = node
        self._database = database
        self._facts = self._pristine = facts
        self._used = self._count_used()

    async def start(self) -> None:
        """A restart: what SPDK would lose is lost."""
        self.qos.clear()
        self.targets.clear()
        self._used = self._count_used()

    async def facts(self) -> EngineFacts:
        return replace(self._facts, ssds=self.ssds)

    @property
    def ssds(self) -> tuple[Ssd, ...]:
        """With what is free on each now."""
        return tuple(ssd.model_copy(update={"free": self._free(ssd)}) for ssd in self._facts.ssds)

    def volume(self, uuid: str) -> VolumeSpec | None:
        """What the engine itself holds, whatever the agent believes."""
        rows = self._database.execute(
            "SELECT spec FROM simulated_volume WHERE node = ? AND uuid = ?", self._node, uuid
        )
        return VolumeSpec.model_validate_json(rows[0][0]) if rows else None

    def volumes(self) -> dict[str, VolumeSpec]:
        """All that the engine itself holds."""
        rows = self._database.execute(
            "SELECT uuid, spec FROM simulated_volume WHERE node = ?", self._node
        )
        return {row[0]: VolumeSpec.model_validate_json(row[1]) for row in rows}

    def snapshots(self) -> dict[str, SnapshotSpec]:
        """All that the engine itself holds."""
        rows = self._database.execute(
            "SELECT uuid, spec FROM simulated_snapshot WHERE node = ?", self._node
        )
        return {row[0]: SnapshotSpec.model_validate_json(row[1]) for row in rows}

    async def ensure_volume(self, uuid: str, spec: VolumeSpec) -> None:
        await asyncio.sleep(0)
        there = self.volume(uuid)
        if there is not None:
            refuse_difference(uuid, there, spec)
        elif spec.source is not None:
            self._check_source(spec.source)
        more = _allocations(spec.pieces)
        for ssd_id, size in _allocations(there.pieces if there else ()).items():
            more[ssd_id] -= size
        self._check_space(more)
        self._database.execute(
            "INSERT OR REPLACE INTO simulated_volume VALUES (?, ?, ?)",
            *(self._node, uuid, spec.model_dump_json()),
        )
        self._use(more)

    async def remove_volume(self, uuid: str) -> None:
        await asyncio.sleep(0)
        there = self.volume(uuid)
        if there is None:
            return
        self._database.execute(
            "DELETE FROM simulated_volume WHERE node = ? AND uuid = ?", self._node, uuid
        )
        self.qos.pop(uuid, None)
        for ssd_id, size in _allocations(there.pieces).items():
            self._used[ssd_id] -= size

    async def ensure_snapshot(self, uuid: str, spec: SnapshotSpec) -> None:
        await asyncio.sleep(0)
        if uuid in self.snapshots():
            return
        if self.volume(spec.volume_uuid) is None:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"volume {spec.volume_uuid} is not here")
        more = _allocations(spec.pieces)
        self._check_space(more)
        self._database.execute(
            "INSERT INTO simulated_snapshot VALUES (?, ?, ?)",
            *(self._node, uuid, spec.model_dump_json()),
        )
        self._use(more)

    async def remove_snapshot(self, uuid: str) -> None:
        await asyncio.sleep(0)
        there = self.snapshots().get(uuid)
        if there is None:
            return
        self._database.execute(
            "DELETE FROM simulated_snapshot WHERE node = ? AND uuid = ?", self._node, uuid
        )
        for ssd_id, size in _allocations(there.pieces).items():
            self._used[ssd_id] -= size

    async def set_qos(self, uuid: str, qos: Qos) -> None:
        await asyncio.sleep(0)
        self.qos[uuid] = qos

    async def apply_target(self, target: TargetState) -> None:
        await asyncio.sleep(0)
        self.targets[target.nqn] = target

    async def remove_target(self, nqn: str) -> None:
        await asyncio.sleep(0)
        self.targets.pop(nqn, None)
        self.hosts.pop(nqn, None)

    async def target_names(self) -> tuple[str, ...]:
        return tuple(self.targets)

    async def connected_hosts(self) -> dict[str, tuple[str, ...]]:
        return {nqn: hosts for nqn, hosts in self.hosts.items() if nqn in self.targets}

    def change(self, **facts: Any) -> None:
        """Other facts from now on; the agent hears of portals and SSDs."""
        before = self._facts
        self._facts = replace(before, **facts)
        if before.portals != self._facts.portals:
            self.on_change(Changes.PORTALS)
        if before.ssds != self._facts.ssds:
            self.on_change(0)

    def reset(self) -> None:
        """As new, after the database was cleared."""
        self._facts = self._pristine
        self.is_full = False
        self.qos.clear()
        self.targets.clear()
        self.hosts.clear()
        self._used = self._count_used()

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
            raise NodeRefused(RefusalCode.NOT_FOUND, f"source {source.uuid} is not here")

    def _free(self, ssd: Ssd) -> int:
        if self.is_full:
            return 0
        return max(0, ssd.capacity - self._used.get(ssd.ssd_id, 0))

    def _check_space(self, more: dict[str, int]) -> None:
        ssds = {ssd.ssd_id: ssd for ssd in self._facts.ssds}
        for ssd_id, size in more.items():
            if ssd_id not in ssds:
                raise NodeRefused(RefusalCode.NOT_FOUND, f"SSD {ssd_id} is not here")
            free = self._free(ssds[ssd_id])
            if size > free:
                raise NodeRefused(
                    RefusalCode.NO_SPACE, f"SSD {ssd_id} has {free} bytes free, not {size}"
                )


def _allocations(pieces: Iterable[Piece]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for piece in pieces:
        sums[piece.ssd_id] = sums.get(piece.ssd_id, 0) + piece.allocated
    return sums
