"""A node dies between any two statements of a write. The repeated write reaches the wanted
state.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import Any

import pytest

from inventory.nodes.agent.agent import Agent, Identity
from inventory.nodes.agent.database import Database
from inventory.nodes.engines.base import EngineFacts
from inventory.nodes.engines.simulated import SimulatedEngine
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import Portal, Qos, RefusalCode, SourceKind, Ssd
from tests.nodes.specs import (
    GIB,
    OTHER_HOST,
    TARGET,
    derived,
    namespace,
    piece,
    snapshot,
    sync,
    volume,
)

SMALL = volume(piece("s", GIB))
GROWN = volume(piece("s", 2 * GIB), qos=Qos(max_iops=1))
MADE_ANEW = volume(piece("s", 2 * GIB), qos=Qos(max_iops=1), generation=2)
TAKEN = snapshot(piece("s", GIB, 4096), volume_uuid="v", volume_generation=1)
TAKEN_ANEW = snapshot(piece("s", GIB, 8192), volume_uuid="v", volume_generation=1, generation=2)
SHOWN = derived(piece("s", GIB, 4096), kind=SourceKind.WRITABLE_SNAPSHOT_VOLUME, of="taken")
FACTS = EngineFacts(
    version="1",
    target_driver_version="1",
    ssds=(Ssd(ssd_id="s", name="s", capacity=10 * GIB, free=0),),
    portals=(Portal(ip="127.0.0.1", port=4420),),
    total_bw=1,
    total_iops=1,
)
COPY = sync(FACTS.portals)
CLONE = derived(piece("s", 2 * GIB, 4096), kind=SourceKind.CLONE_OF_VOLUME, of="v")


class Died(BaseException):
    """The machine died. No code may catch this."""


class MortalDatabase(Database):
    """A database that dies at statement number ``dies_at``."""

    dies_at = 0

    def execute(self, sql: str, *values: Any) -> list[Any]:
        self.dies_at -= 1
        if self.dies_at == 0:
            raise Died
        return super().execute(sql, *values)


class Machine:
    """A node whose process can die and start again with the same disk."""

    def __init__(self) -> None:
        self.database = MortalDatabase()
        self.engine = SimulatedEngine("n", self.database, FACTS)

    async def boot(self) -> Agent:
        self.engine = SimulatedEngine("n", self.database, FACTS)
        agent = Agent(Identity("n", "n", (), 1), self.engine, self.database)
        await agent.start()
        await agent.repair()
        await agent.finish_removals()
        return agent

    async def state(self) -> tuple[Any, ...]:
        """Return everything visible in the agent and in the engine."""
        agent = await self.boot()
        facts = await self.engine.facts()
        return (
            await agent.volumes.list(),
            await agent.snapshots.list(),
            await agent.targets.list(),
            facts.ssds,
            self.engine.volumes(),
            self.engine.snapshots(),
            [self.engine.read(uuid) for uuid in self.engine.volumes()],
            self.engine.targets,
            self.engine.qos,
        )


Step = Callable[[Agent], Awaitable[object]]


def ensure(spec: Any, uuid: str = "v") -> Step:
    return lambda agent: agent.volumes.ensure(uuid, spec)


def change(spec: Any) -> Step:
    return lambda agent: agent.volumes.change("v", spec)


def take(spec: Any) -> Step:
    return lambda agent: agent.snapshots.ensure("taken", spec)


async def remove_snapshot(agent: Agent) -> None:
    await agent.snapshots.remove("taken", 1)


async def remove_shown(agent: Agent) -> None:
    await agent.volumes.remove("shown", 1)


def export(spec: Any, uuid: str = "v") -> Step:
    return lambda agent: agent.targets.ensure(TARGET, uuid, spec)


async def other_volume(agent: Agent) -> None:
    await agent.volumes.ensure("w", SMALL)


async def remove(agent: Agent) -> None:
    await agent.volumes.remove("v", 1)


def begin(spec: Any) -> Step:
    return lambda agent: agent.syncs.ensure("v", spec)


async def end(agent: Agent) -> None:
    await agent.syncs.remove("v", 3)


async def unexport(agent: Agent) -> None:
    await agent.targets.remove(TARGET, "v", 1)


CASES: dict[str, tuple[list[Step], Step]] = {
    "create": ([], ensure(SMALL)),
    "grow and limit": ([ensure(SMALL)], change(GROWN)),
    "remove": ([ensure(SMALL)], remove),
    "remove what never came": ([], remove),
    "snapshot": ([ensure(SMALL)], take(TAKEN)),
    "remove a snapshot": ([ensure(SMALL), take(TAKEN)], remove_snapshot),
    "remove a snapshot that never came": ([ensure(SMALL)], remove_snapshot),
    "snapshot volume": ([ensure(SMALL), take(TAKEN)], ensure(SHOWN, "shown")),
    "remove a snapshot volume": (
        [ensure(SMALL), take(TAKEN), ensure(SHOWN, "shown")],
        remove_shown,
    ),
    "clone": ([ensure(SMALL)], ensure(CLONE, "clone")),
    "export": ([ensure(SMALL)], export(namespace())),
    "another host": (
        [ensure(SMALL), export(namespace())],
        export(namespace(generation=2, host_nqn=OTHER_HOST)),
    ),
    "unexport the last": ([ensure(SMALL), export(namespace())], unexport),
    "copy": ([ensure(SMALL)], begin(COPY)),
    "end a copy": ([ensure(SMALL), begin(COPY)], end),
    "remove what is copied": ([ensure(SMALL), begin(COPY)], remove),
    "unexport one of two": (
        [ensure(SMALL), other_volume, export(namespace()), export(namespace(2), "w")],
        unexport,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_repeat_converges_after_a_crash_at_any_statement(case: str) -> None:
    asyncio.run(dies_anywhere(*CASES[case]))


async def dies_anywhere(before: list[Step], step: Step) -> None:
    expected = await outcome(before, step)
    for dies_at in count(1):
        machine = Machine()
        agent = await prepared(machine, before)
        machine.database.dies_at = dies_at
        with suppress(Died):
            await step(agent)
        survived = machine.database.dies_at > 0
        machine.database.dies_at = 0
        await step(await machine.boot())
        assert await machine.state() == expected, f"died at statement {dies_at}"
        if survived:
            assert dies_at > 2
            return


async def prepared(machine: Machine, before: list[Step]) -> Agent:
    agent = await machine.boot()
    for earlier in before:
        await earlier(agent)
    return agent


async def outcome(before: list[Step], step: Step) -> tuple[Any, ...]:
    machine = Machine()
    agent = await prepared(machine, before)
    await step(agent)
    return await machine.state()


REMOVALS: dict[str, tuple[list[Step], Step, Step]] = {
    "volume": ([ensure(SMALL)], remove, ensure(MADE_ANEW)),
    "snapshot": ([ensure(SMALL), take(TAKEN)], remove_snapshot, take(TAKEN_ANEW)),
    "export": ([ensure(SMALL), export(namespace())], unexport, export(namespace(generation=2))),
}


@pytest.mark.parametrize("what", REMOVALS)
def test_an_interrupted_removal_is_finished_by_a_later_write(what: str) -> None:
    asyncio.run(interrupted_removal(*REMOVALS[what]))


async def interrupted_removal(before: list[Step], step: Step, later: Step) -> None:
    """The disk fails once during the removal, without a restart."""
    expected = await outcome([*before, step], later)
    for dies_at in count(1):
        machine = Machine()
        agent = await prepared(machine, before)
        machine.database.dies_at = dies_at
        with suppress(Died):
            await step(agent)
        survived = machine.database.dies_at > 0
        machine.database.dies_at = 0
        try:
            await later(agent)
        except NodeRefused as refusal:
            if refusal.code is not RefusalCode.CONFLICT:
                raise
            await step(agent)  # it had not started, so its caller repeats it
            await later(agent)
        assert await machine.state() == expected, f"failed at statement {dies_at}"
        if survived:
            return


class BrokenEngine(SimulatedEngine):
    """An engine whose removals fail while ``is_broken``."""

    is_broken = True

    async def remove_volume(self, uuid: str) -> None:
        await self._fail()
        await super().remove_volume(uuid)

    async def remove_snapshot(self, uuid: str) -> None:
        await self._fail()
        await super().remove_snapshot(uuid)

    async def empty_target(self, nqn: str) -> None:
        await self._fail()
        await super().empty_target(nqn)

    async def stop_copy(self, uuid: str) -> None:
        await self._fail()
        await super().stop_copy(uuid)

    async def _fail(self) -> None:
        if self.is_broken:
            raise OSError("no answer from the data plane")


def test_a_failed_removal_bars_its_generation_and_is_finished_later() -> None:
    asyncio.run(failed_removal())


async def failed_removal() -> None:
    database = Database()
    engine = BrokenEngine("n", database, FACTS)
    agent = Agent(Identity("n", "n", (), 1), engine, database)
    await agent.start()
    engine.is_broken = False
    await agent.volumes.ensure("v", SMALL)
    await agent.targets.ensure(TARGET, "v", namespace(1))
    for step, same, other in (
        (unexport, export(namespace(1)), export(namespace(2, generation=2))),
        (remove, ensure(SMALL), ensure(volume(piece("s", 4096), generation=2))),
    ):
        engine.is_broken = True
        with pytest.raises(OSError, match="data plane"):
            await step(agent)
        with pytest.raises(NodeRefused, match=r"outdated; .* generation 1"):
            await same(agent)
        engine.is_broken = False
        assert await other(agent) is True
        await agent.targets.remove(TARGET, "v", 2)
    assert engine.volumes()["v"].capacity == 4096
    assert engine.targets == {}


def test_a_copy_that_could_not_be_stopped_is_stopped_by_the_repeat() -> None:
    asyncio.run(unstopped_copy())


async def unstopped_copy() -> None:
    engine = BrokenEngine("n", Database(), FACTS)
    engine.is_broken = False
    agent = Agent(Identity("n", "n", (), 1), engine, Database())
    await agent.start()
    await agent.volumes.ensure("v", SMALL)
    assert await agent.syncs.ensure("v", COPY) is True
    later = COPY.model_copy(update={"generation": 4})
    engine.is_broken = True
    for step in (end, begin(later), remove):
        with pytest.raises(OSError, match="data plane"):
            await step(agent)
    assert (await agent.syncs.read("v")).generation == 3
    with pytest.raises(NodeRefused, match=r"outdated; .* generation 4"):
        await begin(COPY)(agent)
    with pytest.raises(NodeRefused, match="volume v of generation 1 is not on this node"):
        await begin(later)(agent)
    engine.is_broken = False
    await remove(agent)
    assert await engine.copy("v") is None


def test_a_half_removed_source_is_refused() -> None:
    asyncio.run(half_removed())


async def half_removed() -> None:
    database = Database()
    engine = BrokenEngine("n", database, FACTS)
    engine.is_broken = False
    agent = Agent(Identity("n", "n", (), 1), engine, database)
    await agent.start()
    await agent.volumes.ensure("v", SMALL)
    await agent.snapshots.ensure("taken", TAKEN)
    engine.is_broken = True
    with pytest.raises(OSError, match="data plane"):
        await agent.snapshots.remove("taken", 1)
    engine.is_broken = False
    with pytest.raises(NodeRefused, match="snapshot taken of generation 1 is not on this node"):
        await agent.volumes.ensure("shown", SHOWN)
    await agent.start()
    assert await agent.finish_removals() is True
    assert (await agent.snapshots.list(), engine.snapshots()) == ((), {})
    engine.is_broken = True
    with pytest.raises(OSError, match="data plane"):
        await agent.volumes.remove("v", 1)
    engine.is_broken = False
    with pytest.raises(NodeRefused, match="volume v of generation 1 is not on this node"):
        await agent.volumes.ensure("clone", CLONE)
    with pytest.raises(NodeRefused, match="volume v of generation 1 is not on this node"):
        await agent.snapshots.ensure("taken", TAKEN_ANEW)
