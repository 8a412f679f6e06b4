"""Agent, target or both die between any two calls of a write: the repeat converges."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from inventory.nodes.agent.agent import Agent
from inventory.nodes.engines.spdk.rpc import RpcLost
from inventory.nodes.wire import ProvisioningType, Qos, SourceKind
from tests.nodes.specs import (
    MIB,
    OTHER_HOST,
    TARGET,
    derived,
    namespace,
    piece,
    snapshot,
    volume,
)
from tests.spdk.machine import Died, Machine
from tests.spdk.running import RunningTarget

SMALL, LARGE = 64 * MIB, 128 * MIB
THICK = volume(piece("s", SMALL), qos=Qos(max_iops=1500))
GROWN = volume(piece("s", LARGE), qos=Qos(max_iops=1500))
SPANNED = volume(piece("s", SMALL), piece("t", SMALL), qos=Qos(max_bw=MIB))
SPANNED_MORE = volume(piece("s", SMALL), piece("t", LARGE), qos=Qos(max_bw=MIB))
TAKEN = snapshot(piece("s", SMALL, 4096), volume_uuid="v", volume_generation=1)
TAKEN_TWICE = snapshot(
    piece("s", SMALL, 0), piece("t", SMALL, 0), volume_uuid="v", volume_generation=1
)
SHOWN = derived(piece("s", SMALL, 0), kind=SourceKind.READ_ONLY_SNAPSHOT_VOLUME, of="taken")
OF_VOLUME = derived(piece("s", LARGE, 0), kind=SourceKind.CLONE_OF_VOLUME, of="v")
OF_SNAPSHOT = derived(
    piece("s", SMALL, 0), piece("t", SMALL, 0), kind=SourceKind.CLONE_OF_SNAPSHOT, of="taken"
)
THIN = volume(piece("s", LARGE, 0), provisioning_type=ProvisioningType.THIN)

Step = Callable[[Agent], Awaitable[object]]


def ensure(spec: Any, uuid: str = "v") -> Step:
    return lambda agent: agent.volumes.ensure(uuid, spec)


def remove(uuid: str = "v") -> Step:
    return lambda agent: agent.volumes.remove(uuid, 1)


def take(spec: Any) -> Step:
    return lambda agent: agent.snapshots.ensure("taken", spec)


async def untake(agent: Agent) -> None:
    await agent.snapshots.remove("taken", 1)


def export(spec: Any, uuid: str = "v") -> Step:
    return lambda agent: agent.targets.ensure(TARGET, uuid, spec)


def unexport(uuid: str = "v") -> Step:
    return lambda agent: agent.targets.remove(TARGET, uuid, 1)


CASES: dict[str, tuple[list[Step], Step]] = {
    "thick": ([], ensure(THICK)),
    "thin": ([], ensure(THIN)),
    "grown": ([ensure(THICK)], ensure(GROWN)),
    "removed": ([ensure(THICK)], remove()),
    "spanned": ([], ensure(SPANNED)),
    "spanned, grown": ([ensure(SPANNED)], ensure(SPANNED_MORE)),
    "spanned later": ([ensure(volume(piece("s", SMALL)))], ensure(SPANNED)),
    "spanned, removed": ([ensure(SPANNED)], remove()),
    "snapshot": ([ensure(THICK)], take(TAKEN)),
    "snapshot of a span": ([ensure(SPANNED)], take(TAKEN_TWICE)),
    "snapshot removed": ([ensure(THICK), take(TAKEN)], untake),
    "snapshot volume": ([ensure(THICK), take(TAKEN)], ensure(SHOWN, "shown")),
    "snapshot volume removed": (
        [ensure(THICK), take(TAKEN), ensure(SHOWN, "shown")],
        remove("shown"),
    ),
    "clone of a volume": ([ensure(THICK)], ensure(OF_VOLUME, "clone")),
    "clone of a snapshot": ([ensure(THICK), take(TAKEN)], ensure(OF_SNAPSHOT, "clone")),
    "cloned snapshot removed": (
        [ensure(THICK), take(TAKEN), ensure(OF_SNAPSHOT, "clone")],
        untake,
    ),
    "cloned volume removed": ([ensure(THICK), ensure(OF_VOLUME, "clone")], remove()),
    "clone removed": ([ensure(THICK), ensure(OF_VOLUME, "clone")], remove("clone")),
    "export": ([ensure(THICK)], export(namespace())),
    "export to another host": (
        [ensure(THICK), export(namespace())],
        export(namespace(generation=2, host_nqn=OTHER_HOST)),
    ),
    "unexport one of two": (
        [ensure(THICK), ensure(SPANNED, "w"), export(namespace()), export(namespace(2), "w")],
        unexport(),
    ),
    "unexport the last": ([ensure(THICK), export(namespace())], unexport()),
}


class Deaths:
    """One way to die: armed before a step, and what follows it."""

    def __init__(self, *, agent: bool, target: bool, is_early: bool = False) -> None:
        self._agent = agent
        self._target = target
        self._is_early = is_early

    def arm(self, machine: Machine, at: int) -> None:
        if self._agent:
            machine.rpc.is_early, machine.rpc.dies_at = self._is_early, at
        else:
            machine.target.die_after(at)

    async def follow(self, machine: Machine, agent: Agent) -> Agent:
        if self._agent and self._target:
            machine.target.restart()
        if self._agent:
            return await machine.boot()
        await agent.start()
        return agent


WAYS = {
    "agent, before the call": Deaths(agent=True, target=False, is_early=True),
    "agent, after the call": Deaths(agent=True, target=False),
    "target": Deaths(agent=False, target=True),
    "both": Deaths(agent=True, target=True),
}


@pytest.fixture(scope="module")
def shared_target() -> Iterator[RunningTarget]:
    target = RunningTarget()
    yield target
    target.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_dies_anywhere(case: str, way: str, shared_target: RunningTarget, tmp_path: Path) -> None:
    asyncio.run(dies_anywhere(*CASES[case], WAYS[way], shared_target, tmp_path))


async def dies_anywhere(
    before: list[Step], step: Step, deaths: Deaths, target: RunningTarget, folder: Path
) -> None:
    machine, agent = await prepared(before, target, folder / "0")
    await step(agent)
    expected = await state(machine)
    machine.kill()
    for at in count(1):
        machine, agent = await prepared(before, target, folder / str(at))
        deaths.arm(machine, at)
        is_done = False
        with suppress(Died, RpcLost):
            await step(agent)
            is_done = True
        machine.rpc.dies_at = 0
        target.die_after(None)
        if not is_done:
            agent = await deaths.follow(machine, agent)
            await step(agent)
        assert await state(machine) == expected, f"died at call {at}"
        machine.kill()
        if is_done:
            assert at > 2
            return


async def prepared(
    before: list[Step], target: RunningTarget, folder: Path
) -> tuple[Machine, Agent]:
    target.kill()
    machine = Machine(folder, target)
    target.start()
    agent = await machine.boot()
    for earlier in before:
        await earlier(agent)
    return machine, agent


async def state(machine: Machine) -> Any:
    """All that can be seen, after one more start: of the agent, its engine and the target."""
    agent = await machine.boot()
    seen = await machine.seen()
    for one in seen["subsystems"].values():
        assert {address[2] for address in one[2]} == {str(machine.portal.port)}
    subsystems = {nqn: (one[0], one[1], one[3]) for nqn, one in seen["subsystems"].items()}
    return (
        agent.volumes.list(),
        agent.snapshots.list(),
        [target.model_copy(update={"listeners": ()}) for target in await agent.targets.list()],
        (await machine.facts()).ssds,
        seen | {"subsystems": subsystems},
        (await agent.strays()).strays,
    )
