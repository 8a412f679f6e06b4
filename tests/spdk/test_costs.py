"""The work of the SPDK target for a call of the node API does not depend on the number of
volumes.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from inventory.nodes.engines.base import TargetState
from inventory.nodes.engines.spdk.rpc import RpcRefused
from inventory.nodes.wire import ProvisioningType, Qos, RefusalCode, SourceKind
from tests.nodes.specs import HOST, MIB, TARGET, derived, namespace, piece, snapshot, volume
from tests.spdk.client import Client
from tests.spdk.crowd import PER_TARGET, crowd
from tests.spdk.machine import Disk, Machine, Run, refused
from tests.spdk.rpc import Refused
from tests.spdk.running import RunningTarget

SIZE = 64 * MIB
CLUSTER = 4 * MIB
FEW, MANY = 10, 2000
FULL = {"bdev_lvol_get_lvols", "bdev_raid_get_bdevs"}
"""Calls whose replies grow with the number of volumes."""
DIGITS = 64
"""Bytes by which replies may differ because numbers in them have more digits."""

Steps = dict[str, Callable[[Machine], Awaitable[object]]]
Costs = dict[str, tuple[Counter[str], int]]

THICK = volume(piece("s", SIZE), qos=Qos(max_iops=2000))
SPAN = volume(piece("s", SIZE), piece("t", SIZE))
LARGER = volume(piece("s", 2 * SIZE), qos=Qos(max_iops=2000))
LIMITED = volume(piece("s", 2 * SIZE), qos=Qos(max_iops=4000))
TAKEN = snapshot(piece("s", SIZE, 0), volume_uuid="v", volume_generation=1)
CLONE = derived(piece("s", SIZE, 0), kind=SourceKind.CLONE_OF_SNAPSHOT, of="taken")

STEPS: Steps = {
    "create": lambda machine: machine.agent.volumes.ensure("v", THICK),
    "create a span": lambda machine: machine.agent.volumes.ensure("w", SPAN),
    "read": lambda machine: machine.agent.volumes.read("v"),
    "node": lambda machine: machine.agent.node(),
    "publish": lambda machine: machine.agent.targets.ensure(TARGET, "v", namespace()),
    "publish a span": lambda machine: machine.agent.targets.ensure(TARGET, "w", namespace(2)),
    "read the target": lambda machine: machine.agent.targets.read(TARGET),
    "publish again": lambda machine: machine.agent.targets.ensure(TARGET, "v", namespace()),
    "unpublish one": lambda machine: machine.agent.targets.remove(TARGET, "w", 1),
    "snapshot": lambda machine: machine.agent.snapshots.ensure("taken", TAKEN),
    "clone": lambda machine: machine.agent.volumes.ensure("clone", CLONE),
    "remove the clone": lambda machine: machine.agent.volumes.remove("clone", 1),
    "remove the snapshot": lambda machine: machine.agent.snapshots.remove("taken", 1),
    "expand": lambda machine: machine.agent.volumes.change("v", LARGER),
    "limit": lambda machine: machine.agent.volumes.change("v", LIMITED),
    "remove a span": lambda machine: machine.agent.volumes.remove("w", 1),
    "unpublish": lambda machine: machine.agent.targets.remove(TARGET, "v", 1),
    "remove": lambda machine: machine.agent.volumes.remove("v", 1),
}


async def cost(
    machine: Machine, target: RunningTarget, step: Callable[[Machine], Awaitable[object]]
) -> tuple[Counter[str], int]:
    """Return the calls that the target answers for the step, and the number of bytes of the
    replies.
    """
    machine.rpc.calls, before = (), target.target.server.replied_bytes
    await step(machine)
    return Counter(machine.rpc.calls), target.target.server.replied_bytes - before


def costs(folder: Path, number: int) -> Costs:
    target = RunningTarget()

    async def main() -> Costs:
        machine = Machine(folder, target.socket)
        await crowd(machine, target, number, exported=range(0, number, 5))
        found = {name: await cost(machine, target, step) for name, step in STEPS.items()}
        machine.kill()
        return found

    try:
        return asyncio.run(main())
    finally:
        target.close()


def test_calls_and_bytes_of_an_operation_do_not_depend_on_the_number_of_volumes(
    tmp_path: Path,
) -> None:
    few, many = costs(tmp_path / "few", FEW), costs(tmp_path / "many", MANY)
    assert {name: calls for name, (calls, _) in many.items()} == {
        name: calls for name, (calls, _) in few.items()
    }
    for name, (calls, replied) in many.items():
        assert not FULL & calls.keys(), name
        assert abs(replied - few[name][1]) < DIGITS, name
    assert many["create"][0].total() <= 6
    assert many["publish"][0].total() <= 9
    assert many["remove"][0].total() <= 6


def test_a_restart_calls_the_target_for_published_volumes_only(
    tmp_path: Path, target: RunningTarget
) -> None:
    """There are two calls for each of them. Everything is read twice."""

    async def main() -> None:
        machine = Machine(tmp_path, target.socket)
        await crowd(machine, target, 1000, exported=range(500))
        before = (await machine.seen())["subsystems"]
        target.restart()
        machine.rpc.calls = ()
        await machine.agent.start()
        calls: Counter[str] = Counter(machine.rpc.calls)
        assert calls["nvmf_subsystem_add_ns"] == 500
        assert calls["bdev_lvol_get_lvols"] == 2
        assert calls.total() < 2 * 500 + 5 * 500 / PER_TARGET + 60
        assert (await machine.seen())["subsystems"] == before
        machine.kill()

    asyncio.run(main())


def test_everything_is_read_once_after_an_unknown_outcome(run: Run, target: RunningTarget) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        refusals = target.target.server.refusals
        refusals["bdev_lvol_create"] = Refused(-32603, "Internal error")
        with pytest.raises(RpcRefused):
            await agent.volumes.ensure("v", volume(piece("s", SIZE)))
        refusals.clear()
        machine.rpc.calls = ()
        await agent.volumes.ensure("w", volume(piece("s", SIZE)))
        await agent.volumes.ensure("v", volume(piece("s", SIZE)))
        assert machine.rpc.calls.count("bdev_lvol_get_lvols") <= 1
        assert "bdev_lvol_get_lvols" not in (await cost(machine, target, STEPS["read"]))[0]

    run(steps)


def test_an_object_created_during_a_full_read_is_kept(run: Run, target: RunningTarget) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("gone", volume(piece("s", SIZE)))
        target.delay("bdev_lvol_get_lvols", 0.5)
        listing = asyncio.create_task(agent.volumes.list())
        while "bdev_lvol_get_lvols" not in target.target.calls[-8:]:
            await asyncio.sleep(0.001)
        await agent.volumes.ensure("v", volume(piece("s", SIZE)))
        await agent.volumes.remove("gone", 1)
        assert not listing.done()
        await listing
        target.delay("bdev_lvol_get_lvols", 0)
        machine.rpc.calls = ()
        await agent.targets.ensure(TARGET, "v", namespace())
        free = (await machine.facts()).ssds[0]
        assert not FULL & set(machine.rpc.calls), "the state is as the target's"
        assert (free.capacity - free.free, free.outgrown) == (SIZE, 0)

    run(steps)


def test_space_is_at_most_as_old_as_stated_and_a_refusal_is_exact(
    run: Run, target: RunningTarget
) -> None:
    """While the cached values are used, clusters that thin volumes took count as outgrown."""

    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        thin = volume(piece("s", SIZE, SIZE), provisioning_type=ProvisioningType.THIN)
        await agent.volumes.ensure("thin", thin)
        ssd = (await machine.facts()).ssds[0]
        state = machine.engine._spdk_state
        state._space_seconds = 3600.0
        async with Disk(machine, "thin") as host:
            for at in range(0, SIZE, CLUSTER):
                host.write(1, at, b"new!" * 1024)
        old = (await machine.facts()).ssds[0]
        assert (old.free, old.outgrown) == (ssd.free - SIZE, SIZE)
        await agent.volumes.ensure("rest", volume(piece("s", ssd.free)))
        more = volume(piece("s", CLUSTER))
        await refused(RefusalCode.NO_SPACE, agent.volumes.ensure("more", more))
        state._space_seconds = 0.0
        assert (await machine.facts()).ssds[0].outgrown == 0

    run(steps)


def test_changes_by_others_are_seen_within_the_stated_time(run: Run, target: RunningTarget) -> None:
    async def steps(machine: Machine) -> None:
        await machine.boot()
        state = machine.engine._spdk_state
        lvstore = state.lvstores["ssd-s"]
        call = Client(target.socket)
        call("bdev_lvol_create", lvs_name="ssd-s", lvol_name="foreign", size_in_mib=4)
        call.close()
        watching = asyncio.create_task(machine.engine.lost())
        await asyncio.sleep(10 * machine.engine._watch_seconds)
        assert state.find(lvstore, "foreign") is None
        state._full_at = float("-inf")
        while state.find(lvstore, "foreign") is None:
            await asyncio.sleep(0.001)
        watching.cancel()

    run(steps)


def test_targets_in_use_are_restored_first(run: Run, target: RunningTarget) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        names = [f"nqn.2022-08.com.kioxia:t-{number}" for number in range(4)]
        for number, nqn in enumerate(names):
            await agent.volumes.ensure(f"v-{number}", volume(piece("s", SIZE)))
            await agent.targets.ensure(nqn, f"v-{number}", namespace())
        agent._targets._used = (names[1],)
        made: list[str] = []
        target.restart()
        real = machine.engine.apply_target

        async def apply(target: TargetState) -> None:
            made.append(target.nqn)
            await real(target)

        machine.engine.apply_target = apply  # type: ignore[method-assign]
        await machine.start()
        assert made[:4] == [names[1], names[3], names[2], names[0]]
        assert HOST in (await machine.seen())["subsystems"][names[0]][1]

    run(steps)
