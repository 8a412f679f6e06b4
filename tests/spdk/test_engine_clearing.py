"""Deletions: SPDK forgets an lvol, clears its clusters, and then frees them. An lvol that it cannot
delete is hidden.
"""

import asyncio
from contextlib import suppress

import pytest

from inventory.nodes.drift import DriftKind
from inventory.nodes.engines.spdk import clearing
from inventory.nodes.engines.spdk.rpc import RpcLost, RpcRefused
from inventory.nodes.engines.spdk.volumes import Volumes
from inventory.nodes.wire import ProvisioningType, SourceKind
from tests.nodes.specs import TARGET, derived, namespace, piece, snapshot, volume
from tests.spdk.clearing_steps import BLOCK, CLUSTER, FOR_EVER, SIZE, endless_removal, fill, removal
from tests.spdk.machine import Died, Disk, Machine, Run
from tests.spdk.rpc import Refused
from tests.spdk.running import RunningTarget
from tests.spdk.target import Target

BUSY = Refused(-32603, "Device or resource busy")


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


def test_a_removal_is_not_done_while_spdk_hides_the_volume(run: Run, target: RunningTarget) -> None:
    """SPDK shows it again when it loads the SSD. Then the removal is finished."""

    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("s", SIZE)))
        busy(target, "v-v")
        for _ in range(2):
            with pytest.raises(RpcRefused, match="busy"):
                await agent.volumes.remove("v", 1)
            assert (await machine.seen())["lvols"] == [], "hidden"
        target.restart()
        await machine.start()
        assert await agent.volumes.list() == ()
        assert [(await machine.seen())["lvols"], (await agent.drift()).strays] == [[], ()]

    run(steps)


def test_a_failed_creation_is_not_forgotten_while_spdk_hides_a_piece(
    run: Run, target: RunningTarget
) -> None:
    """Else its space would be given to others, and its data would stay."""

    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("s", SIZE)))
        base = snapshot(piece("s", SIZE), volume_uuid="v", volume_generation=1)
        await agent.snapshots.ensure("taken", base)
        refusals = target.target.server.refusals
        refusals["bdev_lvol_set_parent"] = Refused(-32602, "Invalid argument")
        refusals["bdev_lvol_delete"] = BUSY
        clone = derived(piece("s", SIZE), kind=SourceKind.CLONE_OF_SNAPSHOT, of="taken")
        with pytest.raises(RpcRefused):
            await agent.volumes.ensure("clone", clone)
        assert "clone" in machine.engine._engine_state.volumes
        refusals.clear()
        busy(target, "v-clone")
        for _ in range(2):
            with pytest.raises(RpcRefused, match="busy"):
                await agent.volumes.ensure("clone", clone)
            assert "clone" in machine.engine._engine_state.volumes
        target.restart()
        await machine.start()
        assert await agent.volumes.ensure("clone", clone) is True

    run(steps)


def test_a_removal_is_not_done_if_the_ssd_goes_meanwhile(
    run: Run, target: RunningTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("t", SIZE)))
        real = Volumes._refuse_exported

        async def pulled(volumes: Volumes, uuid: str) -> None:
            await asyncio.to_thread(machine.pull, "t")
            await real(volumes, uuid)

        with monkeypatch.context() as patch:
            patch.setattr(Volumes, "_refuse_exported", pulled)
            with pytest.raises(RpcRefused):
                await agent.volumes.remove("v", 1)
        machine.plug("t")
        await machine.start()
        assert await agent.volumes.list() == ()
        assert [(await machine.seen())["lvols"], (await agent.drift()).strays] == [[], ()]

    run(steps)


def test_a_piece_that_was_never_made_leaves_nothing_to_clear(
    run: Run, target: RunningTarget
) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        refusals = target.target.server.refusals
        refusals["bdev_lvol_create"] = Refused(-32603, "Internal error")
        with pytest.raises(RpcRefused):
            await agent.volumes.ensure("v", volume(piece("s", SIZE)))
        lvstore = machine.engine._spdk_state.lvstores["ssd-s"]
        assert machine.engine._engine_state.clearing(lvstore.uuid) == set()
        assert machine.engine._engine_state.volumes == {}

    run(steps)


def test_the_end_of_a_deletion_is_noted_when_hosts_write_less(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While they write, the engine cannot see that all clusters are free."""
    monkeypatch.setattr(clearing, "RETRY_SECONDS", 0.01)

    async def steps(machine: Machine) -> None:
        await machine.boot()
        lvstore = machine.engine._spdk_state.lvstores["ssd-s"].uuid
        machine.engine._engine_state.begin_clearing(lvstore, "v-gone")
        real, seen = clearing.Clearing._all_free, [True, False]

        def all_free(one: clearing.Clearing, ssd_id: str) -> bool:
            return seen.pop(0) if seen else real(one, ssd_id)

        monkeypatch.setattr(clearing.Clearing, "_all_free", all_free)
        await machine.boot()
        async with asyncio.timeout(30):
            while machine.engine._engine_state.clearing(lvstore):
                await asyncio.sleep(0.01)
        assert not seen

    run(steps)


def busy(target: RunningTarget, name: str) -> None:
    """SPDK cannot delete the lvol, and hides it when it is told to."""

    def change(fake: Target) -> None:
        for _, store in fake.lvstores.open.values():
            store.busy |= {blob.uuid for blob in store.blobs.values() if blob.name == name}

    target.run(change)
