"""Long deletions: SPDK forgets an lvol, clears its clusters, and then frees them."""

import asyncio
from contextlib import suppress

import pytest

from inventory.nodes.drift import DriftKind
from inventory.nodes.engines.spdk.rpc import RpcLost
from inventory.nodes.wire import ProvisioningType
from tests.nodes.specs import TARGET, namespace, piece, volume
from tests.spdk.clearing_steps import BLOCK, CLUSTER, FOR_EVER, SIZE, endless_removal, fill, removal
from tests.spdk.machine import Died, Disk, Machine, Run
from tests.spdk.rpc import Refused
from tests.spdk.running import RunningTarget


@pytest.mark.parametrize("zeroes", [True, False])
@pytest.mark.parametrize("is_agent_dead", [True, False])
def test_data_left_uncleared_by_a_crash_is_never_read(
    run: Run, target: RunningTarget, *, zeroes: bool, is_agent_dead: bool
) -> None:
    async def steps(machine: Machine) -> None:
        machine.only_ssd("s", zeroes=zeroes)
        removing = await endless_removal(machine, target)
        if is_agent_dead:
            machine.kill()
        target.restart()
        with suppress(RpcLost):
            await removing
        if is_agent_dead:
            await machine.boot()
        else:
            await machine.start()
        agent = machine.agent
        assert [one.uuid for one in await agent.volumes.list()] == ["kept"]
        assert (await agent.drift()).strays == ()
        [ssd] = (await machine.facts()).ssds
        assert ssd.free == ssd.capacity - SIZE
        await agent.volumes.ensure("new", volume(piece("s", ssd.free)))
        async with Disk(machine, "new") as host:
            assert not any(any(host.read(1, at, 4)) for at in range(0, ssd.free, CLUSTER))
        async with Disk(machine, "kept") as host:
            assert all(host.read(1, at, 4) == b"old!" for at in range(0, SIZE, CLUSTER))

    run(steps)


def test_clearing_survives_a_second_crash(run: Run, target: RunningTarget) -> None:
    async def steps(machine: Machine) -> None:
        machine.only_ssd("s", zeroes=True)
        agent = await machine.boot()
        thin = volume(piece("s", SIZE), provisioning_type=ProvisioningType.THIN)
        await agent.volumes.ensure("thin", thin)
        await agent.volumes.ensure("old", volume(piece("s", SIZE)))
        await fill(machine, "old")
        target.clear_for(FOR_EVER)
        removing = await removal(machine, "old")
        target.restart()
        with suppress(RpcLost):
            await removing
        target.clear_for(0.05)
        await machine.agent.start()
        assert {one.kind for one in (await machine.agent.drift()).strays} <= {DriftKind.LOST}
        [ssd] = (await machine.facts()).ssds
        assert 0 < ssd.outgrown < ssd.capacity
        async with Disk(machine, "thin") as host:
            host.write(1, 0, b"mine" * (BLOCK // 4))
            assert not any(host.read(1, BLOCK, CLUSTER - BLOCK))
        target.restart()
        agent = await machine.boot()
        [ssd] = (await machine.facts()).ssds
        assert (ssd.outgrown, ssd.free) == (0, ssd.capacity - SIZE)
        await agent.volumes.ensure("new", volume(piece("s", ssd.free)))
        async with Disk(machine, "new") as host:
            assert not any(any(host.read(1, at, 4)) for at in range(0, ssd.free, CLUSTER))

    run(steps)


def test_a_start_does_not_wait_for_space_that_cannot_be_cleared(
    run: Run, target: RunningTarget
) -> None:
    """The space stays allocated, and the next start tries again."""

    async def steps(machine: Machine) -> None:
        machine.only_ssd("s", zeroes=True)
        agent = await machine.boot()
        await agent.volumes.ensure("old", volume(piece("s", SIZE)))
        target.clear_for(FOR_EVER)
        removing = await removal(machine, "old")
        target.restart()
        with suppress(RpcLost):
            await removing
        refusals = target.target.server.refusals
        refusals["bdev_lvol_delete"] = Refused(-32603, "Input/output error")
        await machine.start()
        assert (await machine.facts()).ssds[0].free == 0
        refusals.clear()
        await machine.boot()
        [ssd] = (await machine.facts()).ssds
        assert ssd.free == ssd.capacity

    run(steps)


def test_space_that_is_being_cleared_is_not_free(run: Run, target: RunningTarget) -> None:
    """This holds also for an agent that did not start the removal and does not see the lvol."""

    async def steps(machine: Machine) -> None:
        machine.only_ssd("s", zeroes=False)
        agent = await machine.boot()
        await agent.volumes.ensure("old", volume(piece("s", SIZE)))
        target.clear_for(0.3)
        removing = await removal(machine, "old")
        [ssd] = (await machine.facts()).ssds
        assert (ssd.free, ssd.outgrown) == (ssd.capacity - SIZE, 0)
        machine.kill()
        with suppress(RpcLost):
            await removing
        await machine.launch()
        await machine.agent.finish_removals()
        assert await machine.agent.volumes.list() == ()
        [ssd] = (await machine.facts()).ssds
        assert (ssd.free, ssd.outgrown) == (ssd.capacity - SIZE, SIZE)
        while (await machine.facts()).ssds[0].outgrown:
            await asyncio.sleep(0.01)
        target.clear_for(FOR_EVER)
        await machine.boot()
        target.restart()
        await machine.boot()
        assert target.target.calls.count("bdev_lvol_create") == 0, "all was cleared"

    run(steps)


def test_a_start_does_not_wait_for_removals(run: Run, target: RunningTarget) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        for uuid in ("gone", "kept"):
            await agent.volumes.ensure(uuid, volume(piece("s", SIZE)))
        await agent.targets.ensure(TARGET, "kept", namespace())
        machine.rpc.dies_before("bdev_lvol_delete")
        with pytest.raises(Died):
            await agent.volumes.remove("gone", 1)
        target.restart()
        target.clear_for(FOR_EVER)
        await machine.launch()
        assert [one.uuid for one in await machine.agent.volumes.list()] == ["gone", "kept"]
        assert [one.nqn for one in await machine.agent.targets.list()] == [TARGET]
        target.restart()
        await machine.boot()
        assert [one.uuid for one in await machine.agent.volumes.list()] == ["kept"]

    run(steps)
