"""Whatever hosts write, zero and discard, whatever is created, removed and killed, and however the
SSD is removed and returns, a volume shows only data of its owner, the content of its source, or
zeros.
"""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory.nodes.engines.spdk.rpc import RpcLost, RpcRefused
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import ProvisioningType, SourceKind
from tests.nodes.specs import MIB, derived, piece, snapshot, volume
from tests.spdk.clearing_steps import FOR_EVER
from tests.spdk.host import IoFailed
from tests.spdk.machine import Disk, Machine
from tests.spdk.running import RunningTarget

CLUSTER, BLOCK = 4 * MIB, 4096
CLUSTERS = 3
SIZE = CLUSTERS * CLUSTER
NAMES = ("a", "b", "c")

name = st.sampled_from(NAMES)
kind = st.sampled_from(list(ProvisioningType))
at = st.integers(0, CLUSTERS - 1)
step = st.one_of(
    st.tuples(st.just("make"), name, kind),
    st.tuples(st.just("write"), name, at),
    st.tuples(st.just("fill"), name),
    st.tuples(st.just("zero"), name, at),
    st.tuples(st.just("discard"), name, at),
    st.tuples(st.just("discard_all"), name),
    st.tuples(st.just("snap"), name),
    st.tuples(st.just("unsnap"), name),
    st.tuples(st.just("clone"), name, name),
    st.tuples(st.just("remove"), name),
    st.tuples(st.just("kill")),
    st.tuples(st.just("kill_removing"), name),
    st.tuples(st.just("kill_copying"), name, at),
    st.tuples(st.just("replug"), name, kind, st.booleans()),
    st.tuples(st.just("replug_removing"), name, st.booleans()),
    st.tuples(st.just("replug_copying"), name, at, st.booleans()),
)


class Tenants:
    """The bytes that each volume may show besides zeros: those of its owners, by volume and
    block.
    """

    def __init__(self, machine: Machine, target: RunningTarget) -> None:
        self.machine = machine
        self.target = target
        self.owners: dict[str, set[int]] = {}
        self.snapped: dict[str, str] = {}
        self.number_of_snapshots = 0
        self.number = 0
        self.generations = dict.fromkeys(NAMES, 0)

    async def do(self, what: str, *args: object) -> None:
        with suppress(NodeRefused, IoFailed):
            await getattr(self, what)(*args)

    def next(self, owners: set[int]) -> None:
        """The owner writes with its own mark."""
        self.number = self.number % 250 + 1
        owners.add(self.number)

    async def make(self, uuid: str, kind: ProvisioningType) -> None:
        if uuid not in self.owners:
            self.generations[uuid] += 1
            spec = volume(
                piece("s", SIZE), generation=self.generations[uuid], provisioning_type=kind
            )
            await self.machine.agent.volumes.ensure(uuid, spec)
            self.owners[uuid] = set()
            self.next(self.owners[uuid])

    async def write(self, uuid: str, index: int) -> None:
        await self._write(uuid, index * CLUSTER, BLOCK)

    async def fill(self, uuid: str) -> None:
        await self._write(uuid, 0, SIZE)

    async def _write(self, uuid: str, offset: int, length: int) -> None:
        if uuid in self.owners:
            self.next(self.owners[uuid])
            async with Disk(self.machine, uuid) as host:
                host.write(1, offset, bytes([self.number]) * length)

    async def zero(self, uuid: str, index: int) -> None:
        if uuid in self.owners:
            async with Disk(self.machine, uuid) as host:
                host.zero(1, index * CLUSTER + BLOCK, BLOCK)

    async def discard(self, uuid: str, index: int) -> None:
        await self._discard(uuid, index * CLUSTER, CLUSTER)

    async def discard_all(self, uuid: str) -> None:
        await self._discard(uuid, 0, SIZE)

    async def _discard(self, uuid: str, offset: int, length: int) -> None:
        if uuid in self.owners:
            async with Disk(self.machine, uuid) as host:
                host.discard(1, offset, length)

    async def snap(self, uuid: str) -> None:
        if uuid in self.owners and uuid not in self.snapped:
            generation = self.generations[uuid]
            spec = snapshot(piece("s", SIZE), volume_uuid=uuid, volume_generation=generation)
            self.number_of_snapshots += 1
            name = f"snapshot-{self.number_of_snapshots}"
            await self.machine.agent.snapshots.ensure(name, spec)
            self.snapped[uuid] = name

    async def unsnap(self, uuid: str) -> None:
        if uuid in self.snapped:
            await self.machine.agent.snapshots.remove(self.snapped[uuid], 1)
            del self.snapped[uuid]

    async def clone(self, uuid: str, source: str) -> None:
        if uuid not in self.owners and source in self.owners:
            self.generations[uuid] += 1
            spec = derived(
                piece("s", SIZE),
                kind=SourceKind.CLONE_OF_VOLUME,
                of=source,
                generation_of=self.generations[source],
                generation=self.generations[uuid],
            )
            await self.machine.agent.volumes.ensure(uuid, spec)
            self.owners[uuid] = set(self.owners[source])
            self.next(self.owners[uuid])

    async def remove(self, uuid: str) -> None:
        if uuid in self.owners:
            await self.machine.agent.volumes.remove(uuid, self.generations[uuid])
            del self.owners[uuid]

    async def kill(self) -> None:
        self.target.restart()
        await self.machine.boot()

    async def kill_removing(self, uuid: str) -> None:
        if uuid in self.owners and uuid not in self.snapped:
            self.target.die_after(3)
            with suppress(RpcLost):
                await self.machine.agent.volumes.remove(uuid, self.generations[uuid])
            self.target.settle()
            self.target.die_after(None)
            await self.come_back(is_away=self.number % 2 == 0)
            await self.remove(uuid)

    async def come_back(self, *, is_away: bool) -> None:
        """Restart SPDK and the agent. ``is_away``: they start without the SSD, which returns."""
        if is_away:
            self.machine.pull("s")
        await self.kill()
        if is_away:
            self.machine.plug("s")
            await self.machine.engine.lost()
            await self.machine.start()

    async def replug(
        self,
        uuid: str,
        kind: ProvisioningType,
        is_seen: bool,
    ) -> None:
        """Remove and return the SSD. ``is_seen``: the agent sees that it is absent. Otherwise, it
        gets requests before it sees that the SSD has returned.
        """
        if is_seen:
            self.machine.pull("s")
            await self.machine.engine.lost()
            await self.machine.start()
            self.machine.plug("s")
        else:
            self.machine.replug("s")
            for what, *args in (("make", uuid, kind), ("fill", uuid)):
                with suppress(RpcRefused):
                    await self.do(what, *args)
        await self.machine.engine.lost()
        await self.machine.start()

    async def replug_removing(self, uuid: str, is_seen: bool) -> None:
        if uuid in self.owners and uuid not in self.snapped:
            self.target.clear_for(FOR_EVER)
            removing = asyncio.create_task(
                self.machine.agent.volumes.remove(uuid, self.generations[uuid])
            )
            while not self.target.target.is_clearing and not removing.done():
                await asyncio.sleep(0)
            self.target.clear_for(0)
            await self.replug(uuid, ProvisioningType.THIN, is_seen)
            with suppress(NodeRefused, RpcRefused, RpcLost):
                await removing
            await self.remove(uuid)

    async def replug_copying(self, uuid: str, index: int, is_seen: bool) -> None:
        if uuid in self.snapped:
            self.target.run(lambda fake: fake.lose_copying("ssd-s"))
            with suppress(IoFailed):
                await self._write(uuid, index * CLUSTER, BLOCK)
            self.target.run(lambda fake: fake.registry.on_copy.clear())
            await self.replug(uuid, ProvisioningType.THIN, is_seen)

    async def kill_copying(self, uuid: str, index: int) -> None:
        if uuid in self.snapped:
            self.target.target.die_copying()
            with suppress(ConnectionError, IoFailed, RpcLost):
                await self._write(uuid, index * CLUSTER, BLOCK)
            self.target.settle()
            await self.come_back(is_away=self.number % 2 == 0)

    async def check(self) -> None:
        """Check all volumes, and a new volume that takes all free space."""
        for uuid, owners in self.owners.items():
            assert await self._marks(uuid, SIZE) <= owners | {0}, uuid
        [ssd] = (await self.machine.facts()).ssds
        if ssd.free:
            await self.machine.agent.volumes.ensure("new", volume(piece("s", ssd.free)))
            assert await self._marks("new", ssd.free) == {0}

    async def _marks(self, uuid: str, size: int) -> set[int]:
        """The marks in the volume's bytes."""
        found: set[int] = set()
        async with Disk(self.machine, uuid) as host:
            for offset in range(0, size, CLUSTER):
                data = host.read(1, offset, CLUSTER)
                found |= {0} if data == bytes(CLUSTER) else set(data)
        return found


@pytest.fixture(scope="module")
def shared_target() -> Iterator[RunningTarget]:
    target = RunningTarget()
    yield target
    target.close()


@pytest.mark.parametrize("zeroes", [True, False])
@settings(max_examples=12, deadline=None)
@given(steps=st.lists(step, min_size=4, max_size=14))
def test_no_volume_shows_data_that_its_owner_did_not_write(
    shared_target: RunningTarget, steps: list[tuple[object, ...]], *, zeroes: bool
) -> None:
    async def main(folder: Path) -> None:
        machine = Machine(folder, shared_target.socket, {"s": zeroes}, ssd_bytes=64 * MIB)
        await machine.boot()
        tenants = Tenants(machine, shared_target)
        for what, *args in (("make", "a", ProvisioningType.THIN), ("fill", "a"), *steps):
            await tenants.do(str(what), *args)
        await tenants.check()
        machine.kill()

    shared_target.restart()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))
