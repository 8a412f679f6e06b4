"""The agent, SPDK or both die between any two calls of a write. The repeated write reaches the
wanted state.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from inventory.nodes.engines.spdk.rpc import RpcLost
from inventory.nodes.wire import ProvisioningType, Qos, SourceKind, SyncState
from tests.nodes.specs import (
    MIB,
    NODE_HOST,
    OTHER_HOST,
    TARGET,
    derived,
    namespace,
    piece,
    snapshot,
    sync,
    volume,
)
from tests.spdk.machine import Died, Machine
from tests.spdk.running import NearTarget

MEMORY = Path("/dev/shm")  # noqa: S108 - hundreds of small databases, each write of which is synced
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

Step = Callable[[Machine], Awaitable[object]]


def ensure(spec: Any, uuid: str = "v") -> Step:
    return lambda machine: machine.agent.volumes.ensure(uuid, spec)


def change(spec: Any) -> Step:
    return lambda machine: machine.agent.volumes.change("v", spec)


def remove(uuid: str = "v") -> Step:
    return lambda machine: machine.agent.volumes.remove(uuid, 1)


def take(spec: Any) -> Step:
    return lambda machine: machine.agent.snapshots.ensure("taken", spec)


async def untake(machine: Machine) -> None:
    await machine.agent.snapshots.remove("taken", 1)


def export(spec: Any, uuid: str = "v") -> Step:
    return lambda machine: machine.agent.targets.ensure(TARGET, uuid, spec)


def unexport(uuid: str = "v") -> Step:
    return lambda machine: machine.agent.targets.remove(TARGET, uuid, 1)


async def copy(machine: Machine) -> None:
    """Copy to another volume of the same node, which is a host of its own target. Returns when the
    copy ends or the agent dies.
    """
    agent, spec = machine.agent, sync((machine.portal,), nqn=TARGET, generation=1)
    await agent.syncs.ensure("v", spec)
    while (found := await agent.syncs.read("v")).state is SyncState.RUNNING:
        if machine.rpc.is_dead:
            raise Died
        await asyncio.sleep(0.001)
    if found.state is SyncState.FAILED:
        raise RpcLost("copy", found.message)


CASES: dict[str, tuple[list[Step], Step]] = {
    "thick": ([], ensure(THICK)),
    "thin": ([], ensure(THIN)),
    "expanded": ([ensure(THICK)], change(GROWN)),
    "removed": ([ensure(THICK)], remove()),
    "spanned": ([], ensure(SPANNED)),
    "spanned, expanded": ([ensure(SPANNED)], change(SPANNED_MORE)),
    "spanned later": ([ensure(volume(piece("s", SMALL)))], change(SPANNED)),
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
    "clone of a removed snapshot removed": (
        [ensure(THICK), take(TAKEN), ensure(OF_SNAPSHOT, "clone"), untake],
        remove("clone"),
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
    "export by piece": ([ensure(SPANNED)], export(namespace(by_piece=True))),
    "unexport by piece": ([ensure(SPANNED), export(namespace(by_piece=True))], unexport()),
    "copy of a span": (
        [
            ensure(SPANNED),
            take(TAKEN_TWICE),
            ensure(SPANNED, "w"),
            export(namespace(host_nqn=NODE_HOST, by_piece=True), "w"),
        ],
        copy,
    ),
    "copy": (
        [
            ensure(THICK),
            take(TAKEN),
            ensure(GROWN, "w"),
            export(namespace(host_nqn=NODE_HOST), "w"),
        ],
        copy,
    ),
}


class Deaths:
    """A kind of crash: prepared before a step, and handled after it."""

    def __init__(self, *, agent: bool, target: bool, is_early: bool = False) -> None:
        self._agent = agent
        self._target = target
        self._is_early = is_early

    def points(self, calls: tuple[str, ...]) -> list[int]:
        """Return the numbers of the calls to die at. Calls that only read are omitted, because they
        change nothing.
        """
        changes = {at for at, method in enumerate(calls, 1) if "_get_" not in method}
        return sorted(changes | {at + 1 for at in changes} if self._is_early else changes)

    def arm(self, machine: Machine, target: NearTarget, at: int) -> None:
        if self._agent:
            machine.rpc.is_early, machine.rpc.dies_at = self._is_early, at
        else:
            target.die_after(at)

    async def follow(self, machine: Machine, target: NearTarget) -> None:
        if self._agent and self._target:
            await target.restart()
        if self._agent:
            await machine.boot()
        else:
            await machine.start()


WAYS = {
    "agent": Deaths(agent=True, target=False, is_early=True),
    "target": Deaths(agent=False, target=True),
    "both": Deaths(agent=True, target=True),
}


# the death of the target alone is much like that of both: a few cases are enough
ALIKE = {"spanned, expanded", "clone of a volume", "clone of a removed snapshot removed", "export"}


@pytest.mark.parametrize(
    ("case", "way"),
    [(case, way) for case in CASES for way in WAYS if way != "target" or case in ALIKE],
)
def test_a_repeat_converges_after_a_crash_at_any_call(case: str, way: str) -> None:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        asyncio.run(dies_anywhere(*CASES[case], WAYS[way], Path(folder)))


async def dies_anywhere(before: list[Step], step: Step, deaths: Deaths, folder: Path) -> None:
    target = NearTarget()
    await target.start()
    machine = await prepared(before, target, folder / "0")
    machine.rpc.calls = ()
    await step(machine)
    points = deaths.points(machine.rpc.calls)
    assert points
    expected = await state(machine)
    machine.kill()
    for at in points:
        machine = await prepared(before, target, folder / str(at))
        deaths.arm(machine, target, at)
        with suppress(Died, RpcLost):
            await step(machine)
        target.die_after(None)
        await deaths.follow(machine, target)
        await step(machine)
        assert await state(machine) == expected, f"died at call {at}"
        machine.kill()
    target.close()


async def prepared(before: list[Step], target: NearTarget, folder: Path) -> Machine:
    machine = Machine(folder, target.socket)
    await target.restart()
    await machine.boot()
    for earlier in before:
        await earlier(machine)
    return machine


async def state(machine: Machine) -> Any:
    """Return everything visible in the agent, its engine and the target after one more start."""
    agent = await machine.boot()
    seen = await machine.seen()
    for one in seen["subsystems"].values():
        assert {address[2] for address in one[2]} == {str(machine.portal.port)}
    subsystems = {nqn: (one[0], one[1], one[3]) for nqn, one in seen["subsystems"].items()}
    return (
        await agent.volumes.list(),
        await agent.snapshots.list(),
        [target.model_copy(update={"listeners": ()}) for target in await agent.targets.list()],
        (await machine.facts()).ssds,
        seen | {"subsystems": subsystems},
        (await agent.drift()).strays,
    )
