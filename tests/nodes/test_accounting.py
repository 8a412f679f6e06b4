"""The space on SSDs, to the byte, compared with a model that uses neither HTTP nor SQL."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inventory.nodes.agent.agent import Agent, Identity
from inventory.nodes.agent.database import Database
from inventory.nodes.engines.base import EngineFacts
from inventory.nodes.engines.simulated import SimulatedEngine
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import (
    Piece,
    ProvisioningType,
    RefusalCode,
    SnapshotSpec,
    Source,
    SourceKind,
    Ssd,
    VolumeSpec,
)

BLOCK = 512
CAPACITIES = {"s1": 100 * BLOCK, "s2": 64 * BLOCK + 17}
FACTS = EngineFacts(
    version="1",
    target_driver_version="1",
    ssds=tuple(
        Ssd(ssd_id=name, name=name, capacity=size, free=size) for name, size in CAPACITIES.items()
    ),
    portals=(),
    total_bw=1,
    total_iops=1,
)
names = st.sampled_from("abcdef")
blocks = st.integers(1, 60)
layouts = st.dictionaries(st.sampled_from(list(CAPACITIES)), blocks, min_size=1)


class Accounting(RuleBasedStateMachine):
    """Volumes, snapshots and clones are created, expanded and removed, and the machine restarts.
    The counted space is always right.
    """

    def __init__(self) -> None:
        super().__init__()
        self.generation = 0
        self.model: dict[str, VolumeSpec] = {}
        self.snapshots: dict[str, SnapshotSpec] = {}
        self.database = Database(durable=False)
        self.boot()

    @rule()
    def boot(self) -> None:
        self.engine = SimulatedEngine("n", self.database, FACTS)
        self.agent = Agent(Identity("n", "n", (), 1), self.engine, self.database)
        asyncio.run(self.agent.start())

    @rule(name=names, layout=layouts, thin=st.booleans(), share=st.integers(0, 100))
    def make(self, name: str, layout: dict[str, int], thin: bool, share: int) -> None:
        pieces = tuple(
            Piece(
                ssd_id=ssd,
                capacity=n * BLOCK,
                allocated=n * BLOCK * (share if thin else 100) // 100,
            )
            for ssd, n in layout.items()
        )
        kind = ProvisioningType.THIN if thin else ProvisioningType.THICK
        self.generation += 1
        self.put(
            name,
            VolumeSpec(
                generation=self.generation,
                provisioning_type=kind,
                block_size=BLOCK,
                pieces=pieces,
            ),
        )

    @precondition(lambda self: self.model)
    @rule(data=st.data(), more=st.integers(0, 20))
    def grow(self, data: st.DataObject, more: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.model)))
        old = self.model[name]
        pieces = tuple(
            Piece(
                ssd_id=piece.ssd_id,
                capacity=piece.capacity + more * BLOCK,
                allocated=piece.allocated + more * BLOCK,
            )
            for piece in old.pieces
        )
        spec = old.model_copy(update={"pieces": pieces})
        code = self.outcome(self.agent.volumes.change(name, spec))
        assert code is self.lacking(spec.pieces, self.free(without=name))
        if code is None:
            self.model[name] = spec

    @precondition(lambda self: self.model)
    @rule(data=st.data(), name=names, share=st.integers(0, 100))
    def take(self, data: st.DataObject, name: str, share: int) -> None:
        parent = data.draw(st.sampled_from(sorted(self.model)))
        volume = self.model[parent]
        self.generation += 1
        spec = SnapshotSpec(
            generation=self.generation,
            volume_uuid=parent,
            volume_generation=volume.generation,
            pieces=tuple(_reserving(p, share, more=0) for p in volume.pieces),
        )
        code = self.outcome(self.agent.snapshots.ensure(name, spec))
        if name in self.snapshots:
            assert code is RefusalCode.CONFLICT
        else:
            assert code is self.lacking(spec.pieces, self.free())
        if code is None:
            self.snapshots[name] = spec

    @precondition(lambda self: self.snapshots)
    @rule(data=st.data(), name=names, share=st.integers(0, 100), more=st.integers(0, 9))
    def clone(self, data: st.DataObject, name: str, share: int, more: int) -> None:
        of = data.draw(st.sampled_from(sorted(self.snapshots)))
        snapshot = self.snapshots[of]
        self.generation += 1
        spec = VolumeSpec(
            generation=self.generation,
            provisioning_type=ProvisioningType.THIN,
            block_size=BLOCK,
            pieces=tuple(_reserving(p, share, more) for p in snapshot.pieces),
            source=Source(
                kind=SourceKind.CLONE_OF_SNAPSHOT, uuid=of, generation=snapshot.generation
            ),
        )
        self.put(name, spec)

    @rule(name=names)
    def remove_snapshot(self, name: str) -> None:
        self.generation += 1
        asyncio.run(self.agent.snapshots.remove(name, self.generation))
        self.snapshots.pop(name, None)

    @rule(name=names)
    def remove(self, name: str) -> None:
        """Remove an object with its own generation, because a refused removal must not end its
        life.
        """
        self.generation += 1
        generation = self.model[name].generation if name in self.model else self.generation
        code = self.outcome(self.agent.volumes.remove(name, generation))
        used = name in {spec.volume_uuid for spec in self.snapshots.values()}
        assert code is (RefusalCode.IN_USE if used else None)
        if not used:
            self.model.pop(name, None)

    @invariant()
    def books_are_right(self) -> None:
        free = {ssd.ssd_id: ssd.free for ssd in asyncio.run(self.agent.node()).ssds}
        assert free == self.free()
        assert all(size >= 0 for size in free.values())
        shown = {one.uuid: one.pieces for one in asyncio.run(self.agent.volumes.list())}
        assert shown == {name: spec.pieces for name, spec in self.model.items()}
        assert self.engine.volumes().keys() == self.model.keys()
        assert self.engine.snapshots() == self.snapshots

    def put(self, name: str, spec: VolumeSpec) -> None:
        code = self.outcome(self.agent.volumes.ensure(name, spec))
        assert code == self.expected(name, spec)
        if code is None:
            self.model[name] = spec

    def outcome(self, call: Coroutine[Any, Any, object]) -> RefusalCode | None:
        try:
            asyncio.run(call)
        except NodeRefused as refusal:
            return refusal.code
        return None

    def expected(self, name: str, spec: VolumeSpec) -> RefusalCode | None:
        old = self.model.get(name)
        if old is not None:
            return RefusalCode.CONFLICT
        return self.lacking(spec.pieces, self.free())

    def lacking(self, pieces: tuple[Piece, ...], free: dict[str, int]) -> RefusalCode | None:
        fits = all(piece.allocated <= free[piece.ssd_id] for piece in pieces)
        return None if fits else RefusalCode.NO_SPACE

    def free(self, without: str = "") -> dict[str, int]:
        free = dict(CAPACITIES)
        for name, spec in self.model.items():
            for piece in spec.pieces if name != without else ():
                free[piece.ssd_id] -= piece.allocated
        for snapshot in self.snapshots.values():
            for piece in snapshot.pieces:
                free[piece.ssd_id] -= piece.allocated
        return free


def _reserving(piece: Piece, share: int, more: int) -> Piece:
    """Return ``share`` percent of a piece that is ``more`` blocks larger."""
    capacity = piece.capacity + more * BLOCK
    return Piece(ssd_id=piece.ssd_id, capacity=capacity, allocated=capacity * share // 100)


TestAccounting = Accounting.TestCase
TestAccounting.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
