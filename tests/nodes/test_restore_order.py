"""How a node restores its targets after a restart, and repairs them later."""

import asyncio

from inventory.nodes.agent.agent import Agent, Identity
from inventory.nodes.agent.database import Database
from inventory.nodes.engines.base import EngineFacts, Held, TargetState
from inventory.nodes.engines.simulated import SimulatedEngine
from inventory.nodes.wire import Portal, Ssd
from tests.nodes.specs import GIB, HOST, TARGET, namespace, piece, volume

FACTS = EngineFacts(
    version="1",
    target_driver_version="1",
    ssds=(Ssd(ssd_id="s", name="s", capacity=10 * GIB, free=0),),
    portals=(Portal(ip="127.0.0.1", port=4420),),
    total_bw=1,
    total_iops=1,
)
MANY_TURNS = 100
"""More than those of an export."""
OLDEST, MIDDLE, NEWEST = (f"{TARGET}-{number}" for number in range(3))


class RecordingEngine(SimulatedEngine):
    """``applied``: the targets, in the order in which they were given to the engine.

    To read which volumes exist takes many turns of the event loop. ``fails``: changes of targets
    fail. ``removal``: removals wait for this event.
    """

    applied: list[str]
    fails = False
    removal: asyncio.Event | None = None

    async def apply_target(self, target: TargetState) -> None:
        if self.fails:
            raise OSError("the address does not exist")
        self.applied.append(target.nqn)
        await super().apply_target(target)

    async def held(self, only: Held | None = None) -> Held:
        found = await super().held(only)
        for _ in range(0 if only else MANY_TURNS):
            await asyncio.sleep(0)
        return found

    async def remove_volume(self, uuid: str) -> None:
        if self.removal:
            await self.removal.wait()
        await super().remove_volume(uuid)

    async def remove_target(self, nqn: str) -> None:
        if self.fails:
            raise OSError("the target is busy")
        if self.removal:
            await self.removal.wait()
        await super().remove_target(nqn)


async def restored(engine: RecordingEngine, agent: Agent) -> list[str]:
    engine.applied = []
    await agent.start()
    return engine.applied


def test_targets_in_use_are_restored_first_and_then_the_newest() -> None:
    """The hosts that wait are those that were connected. Of the others, hosts of new exports are
    the most likely ones to connect.
    """

    async def steps() -> None:
        database = Database()
        engine = RecordingEngine("n", database, FACTS)
        agent = Agent(Identity("n", "n", (), 1), engine, database)
        await restored(engine, agent)
        for nqn in (OLDEST, MIDDLE, NEWEST):
            await agent.volumes.ensure(nqn[-1], volume(piece("s", GIB)))
            await agent.targets.ensure(nqn, nqn[-1], namespace())
            await asyncio.sleep(0.001)
        assert await restored(engine, agent) == [NEWEST, MIDDLE, OLDEST]
        engine.hosts[OLDEST] = (HOST,)
        await agent.targets.list()
        assert await restored(engine, agent) == [OLDEST, NEWEST, MIDDLE]

    asyncio.run(steps())


async def exported() -> tuple[RecordingEngine, Agent]:
    """Return an agent with the volume ``v`` in a target, and without delay in the removal of empty
    targets.
    """
    database = Database()
    engine = RecordingEngine("n", database, FACTS)
    agent = Agent(Identity("n", "n", (), 1), engine, database)
    agent._targets._notice_seconds = 0
    await restored(engine, agent)
    await agent.volumes.ensure("v", volume(piece("s", GIB)))
    await agent.targets.ensure(TARGET, "v", namespace())
    return engine, agent


async def unrestored(engine: RecordingEngine, agent: Agent) -> None:
    """Start again, while targets cannot be changed."""
    engine.fails = True
    assert await restored(engine, agent) == []
    engine.fails = False


def test_a_volume_that_is_exported_during_a_repair_stays_exported() -> None:
    async def steps() -> None:
        engine, agent = await exported()
        await unrestored(engine, agent)

        async def export() -> None:
            await agent.volumes.ensure("new", volume(piece("s", GIB)))
            assert await agent.targets.ensure(TARGET, "new", namespace(2)) is True

        is_repaired, _ = await asyncio.gather(agent.repair(), export())
        assert is_repaired
        assert engine.targets[TARGET].namespaces == {1: "v", 2: "new"}

    asyncio.run(steps())


def test_the_removal_of_a_volume_does_not_block_the_repair_of_targets() -> None:
    """The limits of the volume were not set yet when it was removed."""

    async def steps() -> None:
        engine, agent = await exported()
        await agent.volumes.ensure("large", volume(piece("s", GIB)))
        await unrestored(engine, agent)
        engine.removal = asyncio.Event()
        removing = asyncio.create_task(agent.volumes.remove("large", 1))
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert await agent.repair() is False
        assert engine.applied == [TARGET]
        engine.removal.set()
        await removing
        assert await agent.repair() is True

    asyncio.run(steps())


def test_a_target_in_use_does_not_block_the_repair_of_others() -> None:
    async def steps() -> None:
        engine, agent = await exported()
        await agent.volumes.ensure("other", volume(piece("s", GIB)))
        await agent.targets.ensure(OLDEST, "other", namespace())
        await unrestored(engine, agent)
        async with agent._targets._locks.hold(f"target {OLDEST}"), asyncio.timeout(5):
            assert await agent.repair() is False
        assert engine.applied == [TARGET]
        assert await agent.repair() is True

    asyncio.run(steps())


def test_an_empty_target_that_could_not_be_removed_is_tried_again() -> None:
    async def steps() -> None:
        engine, agent = await exported()
        engine.fails = True
        await agent.targets.remove(TARGET, "v", 1)
        await asyncio.wait([pending_removal()])
        assert await engine.target_names() == (TARGET,)
        engine.fails = False
        await agent.repair()
        async with asyncio.timeout(5):
            while await engine.target_names():
                await asyncio.sleep(0.001)

    asyncio.run(steps())


def test_the_removal_of_an_empty_target_can_be_cancelled() -> None:
    async def steps() -> None:
        engine, agent = await exported()
        engine.removal = asyncio.Event()
        await agent.targets.remove(TARGET, "v", 1)
        task = pending_removal()
        await asyncio.sleep(0.01)
        agent.stop()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(steps())


def pending_removal() -> "asyncio.Task[None]":
    """The task that removes the empty target."""
    return next(one for one in asyncio.all_tasks() if one.get_name() == f"emptied {TARGET}")
