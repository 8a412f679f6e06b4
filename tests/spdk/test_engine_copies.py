"""Copies that do not end normally."""

import asyncio

import pytest

from inventory.nodes.engines.retries import Retries
from inventory.nodes.engines.spdk import clearing, connections, copies, transfer
from inventory.nodes.engines.spdk.kept_state import KeptState
from inventory.nodes.engines.spdk.names import copy_name
from inventory.nodes.engines.spdk.rpc import NotAsAsked
from inventory.nodes.wire import RefusalCode, SyncState
from tests.nodes.specs import MIB, NODE_HOST, TARGET, namespace, piece, snapshot, sync, volume
from tests.spdk.client import Client
from tests.spdk.machine import WATCH, Disk, Machine, Run, refused
from tests.spdk.rpc import Refused
from tests.spdk.running import RunningTarget

SIZE = 64 * MIB
CLUSTERS = SIZE // (4 * MIB)


async def begun(machine: Machine) -> None:
    """A running copy of ``v`` to ``w`` on the same node."""
    agent = machine.agent
    for uuid in "vw":
        await agent.volumes.ensure(uuid, volume(piece("s", SIZE)))
    await agent.targets.ensure(TARGET, "w", namespace(host_nqn=NODE_HOST))
    await agent.syncs.ensure("v", sync((machine.portal,), nqn=TARGET, generation=1))
    while not (await agent.syncs.read("v")).bytes_done:
        await asyncio.sleep(0.001)


def written(target: RunningTarget) -> int:
    return sum(bdev.written for bdev in target.target.registry.all())


def is_written(target: RunningTarget) -> bool:
    """Whether a copy is running in the target."""
    return any(store.busy for _, store in target.target.lvstores.open.values())


async def names(machine: Machine) -> set[str]:
    return {name for _, name, *_ in (await machine.seen())["lvols"]}


async def cut(machine: Machine, target: RunningTarget) -> None:
    """Remove the target of the copy, which ends the copy."""
    await machine.agent.targets.remove(TARGET, "w", 1)
    target.hold(None)
    await machine.engine.settle()
    assert not is_written(target)


@pytest.fixture
def slow(target: RunningTarget, monkeypatch: pytest.MonkeyPatch) -> RunningTarget:
    """A target whose copies stand still. The engine waits only a short time for their end."""
    monkeypatch.setattr(connections, "ENDING_SECONDS", 0.05)
    monkeypatch.setattr(copies, "ENDING_SECONDS", 0.05)
    target.target.initiator.detach_seconds = 0.02
    target.hold(1)
    return target


def test_stopping_a_copy_that_goes_on_is_refused(run: Run, slow: RunningTarget) -> None:
    """So it is certain that a stopped copy writes no more."""

    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await begun(machine)
        for _ in range(2):
            await refused(RefusalCode.UNAVAILABLE, agent.syncs.remove("v", 1), "being written")
            await refused(RefusalCode.UNAVAILABLE, agent.volumes.remove("v", 1), "being written")
            assert is_written(slow)
        await cut(machine, slow)
        await agent.syncs.remove("v", 1)
        there = written(slow)
        assert (await machine.seen())["controllers"] == []
        await machine.settle()
        assert await names(machine) == {"v-w"}
        assert written(slow) == there

    run(steps)


def test_a_copy_outlives_its_agent(run: Run, slow: RunningTarget) -> None:
    """The snapshots of the copy are kept, and no new copy starts, until its target is removed."""

    async def steps(machine: Machine) -> None:
        await machine.boot()
        await begun(machine)
        await machine.launch()
        agent, spec = machine.agent, sync((machine.portal,), nqn=TARGET, generation=1)
        await machine.engine.free_space_zeroed()
        assert await names(machine) == {"shared", "v-v", "v-w"}
        await refused(RefusalCode.NOT_FOUND, agent.syncs.read("v"))
        await refused(RefusalCode.UNAVAILABLE, agent.syncs.ensure("v", spec), "being written")
        await refused(RefusalCode.UNAVAILABLE, agent.volumes.remove("v", 1), "being written")
        assert is_written(slow)
        await cut(machine, slow)
        await machine.settle()
        seen = await machine.seen()
        assert ({name for _, name, *_ in seen["lvols"]}, seen["controllers"]) == ({"v-w"}, [])
        assert (await agent.drift()).strays == ()

    run(steps)


def test_a_copy_starts_after_an_abandoned_one_ended(
    run: Run, slow: RunningTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This works even if the previous agent never received the answer to an attach."""

    async def steps(machine: Machine) -> None:
        await machine.boot()
        await begun(machine)
        await machine.launch()
        agent = machine.agent
        await cut(machine, slow)
        monkeypatch.undo()
        await agent.targets.ensure(TARGET, "w", namespace(generation=2, host_nqn=NODE_HOST))
        await machine.rpc.call(
            "bdev_nvme_attach_controller",
            name=copy_name("v"),
            trtype="TCP",
            traddr=machine.portal.ip,
            trsvcid=str(machine.portal.port),
            subnqn=TARGET,
            hostnqn=NODE_HOST,
        )
        await agent.syncs.ensure("v", sync((machine.portal,), nqn=TARGET, generation=1))
        while (found := await agent.syncs.read("v")).state is SyncState.RUNNING:
            await asyncio.sleep(0.001)
        assert found.state is SyncState.DONE, found
        assert (await machine.seen())["controllers"] == []
        assert await names(machine) == {"v-v", "v-w"}

    run(steps)


def test_a_restarted_engine_keeps_the_snapshots_of_a_running_copy(
    run: Run, slow: RunningTarget
) -> None:
    """SPDK keeps running, as when an SSD is added or removed."""

    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await begun(machine)
        await agent.start()
        await machine.engine.free_space_zeroed()
        assert is_written(slow)
        assert await names(machine) == {"shared", "v-v", "v-w"}
        await cut(machine, slow)
        await machine.settle()
        assert await names(machine) == {"v-v", "v-w"}

    run(steps)


def test_a_stalled_copy_keeps_its_snapshots(
    run: Run, slow: RunningTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await begun(machine)
        monkeypatch.setattr(transfer, "STALL_SECONDS", 0.2)
        while (found := await agent.syncs.read("v")).state is SyncState.RUNNING:
            await asyncio.sleep(0.01)
        assert "no progress" in found.message
        await agent.volumes.ensure("other", volume(piece("s", SIZE)))
        await agent.volumes.remove("other", 1)
        assert await names(machine) == {"shared", "v-v", "v-w"}
        slow.restart()
        await machine.start()
        assert await names(machine) == {"v-v", "v-w"}

    run(steps)


def test_a_snapshot_removed_during_a_copy_is_deleted_after_it(
    run: Run, slow: RunningTarget
) -> None:
    """It becomes shared at once, and is deleted when the copy has ended."""

    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("s", SIZE)))
        taken = snapshot(piece("s", SIZE, 0), volume_uuid="v", volume_generation=1)
        await agent.snapshots.ensure("taken", taken)
        async with Disk(machine, "v") as host:
            await asyncio.to_thread(host.write, 1, 0, b"new." * 1024)
        await begun(machine)
        await agent.snapshots.remove("taken", 1)
        assert await agent.snapshots.list() == ()
        assert "s-taken" in await names(machine)
        slow.hold(None)
        while (found := await agent.syncs.read("v")).state is SyncState.RUNNING:
            await asyncio.sleep(0.001)
        assert found.state is SyncState.DONE, found
        assert await names(machine) == {"v-v", "v-w"}
        assert (await agent.drift()).strays == ()

    run(steps)


def test_a_snapshot_that_could_not_be_deleted_is_deleted_later(
    run: Run, target: RunningTarget
) -> None:
    """SPDK hides it and shows it again when it loads the SSD. Then it is deleted."""

    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("s", SIZE)))
        taken = snapshot(piece("s", SIZE, 0), volume_uuid="v", volume_generation=1)
        await agent.snapshots.ensure("taken", taken)
        [(_, store)] = [
            one for one in target.target.lvstores.open.values() if one[1].name == "ssd-s"
        ]
        store.busy |= {blob.uuid for blob in store.blobs.values() if blob.is_snapshot}
        await agent.snapshots.remove("taken", 1)
        assert await names(machine) == {"v-v"}
        target.restart()
        await machine.start()
        assert await names(machine) == {"v-v"}
        assert (await agent.drift()).strays == ()

    run(steps)


def test_a_chain_with_a_hidden_layer_is_refused(run: Run, target: RunningTarget) -> None:
    """SPDK hides a snapshot whose deletion failed, so the lvols above it are incomplete."""

    async def steps(machine: Machine) -> None:
        await machine.boot()
        await machine.agent.volumes.ensure("v", volume(piece("s", SIZE)))
        call = Client(target.socket)
        call("bdev_lvol_snapshot", lvol_name="ssd-s/v-v", snapshot_name="x-1")
        [(_, store)] = [
            one for one in target.target.lvstores.open.values() if one[1].name == "ssd-s"
        ]
        lvol = call("bdev_get_bdevs", name="ssd-s/x-1")[0]["uuid"]
        store.busy.add(lvol)
        call.fails(-32603, "bdev_lvol_delete", name=lvol)
        call.close()
        spdk_state = await KeptState(machine.rpc).current()
        with pytest.raises(NotAsAsked, match="not visible in SPDK"):
            spdk_state.chain(spdk_state.lvstores["ssd-s"], "v-v")
        assert spdk_state.unseen(spdk_state.lvstores["ssd-s"]) == CLUSTERS

    run(steps)


def test_an_ssd_that_failed_is_not_tried_again_while_a_copy_runs(
    run: Run, slow: RunningTarget
) -> None:
    """The next attempt would stop the copy, or its result would be lost."""

    async def steps(machine: Machine) -> None:
        await machine.boot()
        await begun(machine)
        machine.engine._stores.retries = Retries(0.0, 0.0)
        machine.engine._stores.retries.fail("t")
        watching = asyncio.create_task(machine.engine.lost())
        await asyncio.sleep(10 * WATCH)
        assert not watching.done()
        slow.hold(None)
        async with asyncio.timeout(30):
            while (await machine.agent.syncs.read("v")).state is not SyncState.DONE:
                await asyncio.sleep(WATCH)
        await asyncio.sleep(10 * WATCH)
        assert not watching.done()
        await machine.agent.syncs.remove("v", 1)
        async with asyncio.timeout(30):
            await watching

    run(steps)


def test_a_snapshot_of_a_copy_that_spdk_refused_to_delete_is_deleted_later(
    run: Run, target: RunningTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clearing, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(clearing, "MAX_RETRY_SECONDS", 0.01)

    async def steps(machine: Machine) -> None:
        await machine.boot()
        target.hold(1)
        await begun(machine)
        refusals = target.target.server.refusals
        refusals["bdev_lvol_delete"] = Refused(-32603, "Cannot allocate memory")
        target.hold(None)
        while (await machine.agent.syncs.read("v")).state is SyncState.RUNNING:
            await asyncio.sleep(0.001)
        await machine.engine.settle()
        assert len(await names(machine)) == 3
        refusals.clear()
        async with asyncio.timeout(30):
            while await names(machine) != {"v-v", "v-w"}:
                await asyncio.sleep(0.01)

    run(steps)
