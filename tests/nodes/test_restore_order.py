"""The order in which a node restores its targets after a restart."""

import asyncio

from inventory.nodes.agent.agent import Agent, Identity
from inventory.nodes.agent.database import Database
from inventory.nodes.engines.base import EngineFacts, TargetState
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
OLDEST, MIDDLE, NEWEST = (f"{TARGET}-{number}" for number in range(3))


class RecordingEngine(SimulatedEngine):
    """``applied``: the targets, in the order in which they were given to the engine."""

    applied: list[str]

    async def apply_target(self, target: TargetState) -> None:
        self.applied.append(target.nqn)
        await super().apply_target(target)


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
