"""What SPDK refuses, at a start of the engine or later, is tried again."""

import asyncio
from typing import Any

import pytest

from inventory.nodes.agent.agent import Agent
from inventory.nodes.engines.base import VolumesLeftOut
from inventory.nodes.engines.spdk import clearing, lvstores
from inventory.nodes.engines.spdk.rpc import RpcLost, RpcRefused
from inventory.nodes.wire import Qos, SourceKind
from tests.nodes.specs import (
    MIB,
    OTHER_TARGET,
    TARGET,
    derived,
    namespace,
    piece,
    snapshot,
    volume,
)
from tests.spdk.machine import Died, Machine, Run
from tests.spdk.rpc import Refused
from tests.spdk.running import RunningTarget

SIZE = 64 * MIB
BUSY = Refused(-16, "Device or resource busy")


def test_limits_and_raids_that_a_start_could_not_restore_are_retried(
    run: Run, target: RunningTarget
) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        qos = Qos(max_iops=1500)
        await agent.volumes.ensure("v", volume(piece("s", SIZE), qos=qos))
        await agent.volumes.ensure("w", volume(piece("s", SIZE), piece("t", SIZE)))
        for nsid, uuid in enumerate("vw", 1):
            await agent.targets.ensure(TARGET, uuid, namespace(nsid))
        before = await machine.seen()
        target.restart()
        busy = Refused(-32602, "Failed to configure rate limit: Resource temporarily unavailable")
        refusals = target.target.server.refusals
        refusals |= {"bdev_set_qos_limit": busy, "bdev_raid_create": busy}
        await agent.start()
        seen = await machine.seen()
        assert (list(seen["subsystems"][TARGET][3]), seen["raids"]) == ([1], [])
        assert await agent.repair() is False
        refusals.clear()
        assert await agent.repair() is True
        assert await machine.seen() == before

    run(steps)


def test_an_export_without_its_raid_fails_and_can_be_repeated(
    run: Run, target: RunningTarget
) -> None:
    """An expansion that SPDK refused leaves the volume without its raid."""

    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("w", volume(piece("s", SIZE), piece("t", SIZE)))
        refusals = target.target.server.refusals
        refusals["bdev_lvol_resize"] = BUSY
        with pytest.raises(RpcRefused, match="resize"):
            await agent.volumes.change("w", volume(piece("s", SIZE), piece("t", 2 * SIZE)))
        refusals["bdev_raid_create"] = BUSY
        with pytest.raises(VolumesLeftOut, match="without w"):
            await agent.targets.ensure(TARGET, "w", namespace())
        refusals.clear()
        assert await agent.targets.ensure(TARGET, "w", namespace()) is True
        assert list((await machine.seen())["subsystems"][TARGET][3]) == [1]

    run(steps)


def test_a_volume_without_its_raid_does_not_affect_others_of_its_target(
    run: Run, target: RunningTarget
) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("s", SIZE)))
        await agent.volumes.ensure("w", volume(piece("s", SIZE), piece("t", SIZE)))
        await agent.targets.ensure(TARGET, "w", namespace(1))
        target.restart()
        refusals = target.target.server.refusals
        refusals["bdev_raid_create"] = BUSY
        await agent.start()
        assert await agent.targets.ensure(TARGET, "v", namespace(2)) is True
        await agent.targets.remove(TARGET, "v", 1)
        with pytest.raises(RpcRefused, match="raid"):
            await agent.targets.ensure(TARGET, "w", namespace(1))
        assert await agent.repair() is False
        refusals.clear()
        assert await agent.targets.ensure(TARGET, "w", namespace(1)) is False
        assert list((await machine.seen())["subsystems"][TARGET][3]) == [1]

    run(steps)


def test_a_volume_on_an_absent_ssd_is_left_out_of_its_target(
    run: Run, target: RunningTarget
) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("s", SIZE)))
        await agent.volumes.ensure("w", volume(piece("s", SIZE), piece("t", SIZE)))
        await agent.volumes.ensure("x", volume(piece("t", SIZE)))
        for nsid, uuid in enumerate("vw", 1):
            await agent.targets.ensure(TARGET, uuid, namespace(nsid))
        await agent.targets.ensure(OTHER_TARGET, "x", namespace(by_piece=True))
        target.restart()
        machine.pull("t")
        await agent.start()
        assert await agent.repair() is True
        assert list((await machine.seen())["subsystems"][TARGET][3]) == [1]
        assert await agent.targets.ensure(TARGET, "v", namespace(1)) is False

    run(steps)


@pytest.mark.parametrize("is_spdk_dead", [True, False])
def test_space_that_a_start_could_not_clear_is_cleared_later(
    run: Run, target: RunningTarget, monkeypatch: pytest.MonkeyPatch, *, is_spdk_dead: bool
) -> None:
    """This needs no further start. An unused snapshot is removed later, too. After a restart of the
    agent alone, there is only the snapshot.
    """
    monkeypatch.setattr(clearing, "RETRY_SECONDS", 0.01)

    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("s", SIZE)))
        clone = derived(piece("s", SIZE), kind=SourceKind.CLONE_OF_VOLUME, of="v")
        await agent.volumes.ensure("clone", clone)
        removing = asyncio.create_task(agent.volumes.remove("v", 1))
        while "bdev_lvol_delete" not in target.target.calls:
            await asyncio.sleep(0)
        machine.rpc.is_dead = True
        with pytest.raises(Died):
            await removing
        if is_spdk_dead:
            target.restart()
        refusals = target.target.server.refusals
        refusals["bdev_lvol_delete"] = Refused(-32603, "Input/output error")
        await machine.boot()
        names = [name for _, name, *_ in (await machine.seen())["lvols"]]
        assert "shared" in names
        assert any(name.startswith("z-") for name in names) is is_spdk_dead
        tree = machine.engine._snapshot_tree
        left = await asyncio.gather(*(tree.remove_unused("s") for _ in range(2)))
        assert all(left), "each task knows what another one tries in vain"
        refusals.clear()
        assert await machine.agent.finish_removals() is True
        async with asyncio.timeout(30):
            while len((await machine.seen())["lvols"]) > 1:
                await asyncio.sleep(0.01)
        [ssd] = [one for one in (await machine.facts()).ssds if one.ssd_id == "s"]
        assert ssd.free == ssd.capacity - SIZE

    run(steps)


@pytest.mark.parametrize("method", ["bdev_aio_create", "bdev_lvol_create"])
def test_an_ssd_that_failed_once_is_tried_again(
    run: Run, target: RunningTarget, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(lvstores, "RETRY_SECONDS", 0.01)

    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("s", SIZE)))
        clone = derived(piece("s", SIZE), kind=SourceKind.CLONE_OF_VOLUME, of="v")
        await agent.volumes.ensure("clone", clone)
        await agent.targets.ensure(TARGET, "v", namespace(1))
        before = await machine.seen()
        target.restart()
        refusals = target.target.server.refusals
        refusals[method] = Refused(-32603, "Cannot allocate memory")
        for _ in range(2):
            await agent.start()
            assert "s" in machine.engine.absent_ssds
            async with asyncio.timeout(30):
                await machine.engine.lost()
        refusals.clear()
        await machine.start()
        assert machine.engine.absent_ssds == frozenset()
        assert machine.engine._stores.retries.seconds is None
        assert await machine.seen() == before

    run(steps)


async def with_snapshot(machine: Machine) -> Agent:
    """Boot a node with the volume ``v`` and its snapshot ``taken``."""
    agent = await machine.boot()
    await agent.volumes.ensure("v", volume(piece("s", SIZE)))
    taken = snapshot(piece("s", SIZE), volume_uuid="v", volume_generation=1)
    await agent.snapshots.ensure("taken", taken)
    return agent


def test_an_unused_snapshot_that_spdk_refused_to_delete_is_deleted_later(
    run: Run, target: RunningTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clearing, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(clearing, "MAX_RETRY_SECONDS", 0.01)

    async def steps(machine: Machine) -> None:
        agent = await with_snapshot(machine)
        refusals = target.target.server.refusals
        refusals["bdev_lvol_delete"] = Refused(-32603, "Cannot allocate memory")
        await agent.snapshots.remove("taken", 1)
        assert len((await machine.seen())["lvols"]) == 2
        refusals.clear()
        async with asyncio.timeout(30):
            while len((await machine.seen())["lvols"]) > 1:
                await asyncio.sleep(0.01)

    run(steps)


def test_a_snapshot_is_deleted_after_its_removal_was_cut_off(
    run: Run, target: RunningTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPDK did not answer. The removal is on record, so a repeated one finds nothing to do."""
    monkeypatch.setattr(clearing, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(clearing, "MAX_RETRY_SECONDS", 0.01)

    async def steps(machine: Machine) -> None:
        agent = await with_snapshot(machine)
        real, lost = machine.rpc.call, list[str]()

        async def call(method: str, /, **params: Any) -> Any:
            if method == "bdev_lvol_delete" and not lost:
                lost.append(method)
                raise RpcLost(method, "no answer")
            return await real(method, **params)

        monkeypatch.setattr(machine.rpc, "call", call)
        with pytest.raises(RpcLost):
            await agent.snapshots.remove("taken", 1)
        await agent.snapshots.remove("taken", 1)
        async with asyncio.timeout(30):
            while len((await machine.seen())["lvols"]) > 1:
                await asyncio.sleep(0.01)

    run(steps)


def test_a_hidden_snapshot_is_deleted_as_soon_as_spdk_can(
    run: Run, target: RunningTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the lvol was read meanwhile, which shows that it has no bdev."""
    monkeypatch.setattr(clearing, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(clearing, "MAX_RETRY_SECONDS", 0.01)

    async def steps(machine: Machine) -> None:
        agent = await with_snapshot(machine)
        [store] = [one for _, one in target.target.lvstores.open.values() if one.name == "ssd-s"]
        hidden = {blob.uuid for blob in store.blobs.values() if blob.is_snapshot}
        store.busy |= hidden
        await agent.snapshots.remove("taken", 1)
        lvstore = machine.engine._spdk_state.lvstores["ssd-s"]
        for name in machine.engine._engine_state.shared:
            await machine.engine._spdk_state.look(lvstore, name[1])
        await machine.engine.settle()
        assert len(store.blobs) == 2
        store.busy -= hidden
        async with asyncio.timeout(30):
            while len(store.blobs) > 1 or machine.engine._engine_state.shared:
                await asyncio.sleep(0.01)

    run(steps)
