"""Copies that do not end as they should."""

import asyncio

import pytest

from inventory.nodes.engines.spdk import transfer
from inventory.nodes.engines.spdk.rpc import NotAsAsked
from inventory.nodes.engines.spdk.view import View
from inventory.nodes.wire import SyncState
from tests.nodes.specs import MIB, NODE_HOST, TARGET, namespace, piece, sync, volume
from tests.spdk.client import Client
from tests.spdk.machine import Machine, Run
from tests.spdk.running import RunningTarget

SIZE = 64 * MIB
CLUSTERS = SIZE // (4 * MIB)


async def begun(machine: Machine) -> None:
    """A copy of ``v`` to ``w``, of the same node."""
    agent = machine.agent
    for uuid in "vw":
        await agent.volumes.ensure(uuid, volume(piece("s", SIZE)))
    await agent.targets.ensure(TARGET, "w", namespace(host_nqn=NODE_HOST))
    await agent.syncs.ensure("v", sync((machine.portal,), nqn=TARGET, generation=1))
    while not (await agent.syncs.read("v")).bytes_done:
        await asyncio.sleep(0.001)


def written(target: RunningTarget) -> int:
    return sum(bdev.written for bdev in target.target.registry.all())


def test_stop_of_a_copy_that_cannot_be_cut(
    run: Run, target: RunningTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits as long as that goes on: what was stopped does not write any more."""
    monkeypatch.setattr(transfer, "STALL_SECONDS", 0.3)

    async def steps(machine: Machine) -> None:
        await machine.boot()
        target.pace(0.03)
        target.target.initiator.is_stubborn = True
        await begun(machine)
        await machine.agent.syncs.remove("v", 1)
        there = written(target)
        assert not any(store.busy for _, store in target.target.lvstores.open.values())
        await asyncio.sleep(0.05)
        assert written(target) == there
        assert {name for _, name, *_ in (await machine.seen())["lvols"]} == {"v-v", "v-w"}

    run(steps)


def test_what_is_read_by_a_copy_that_is_stuck_stays(
    run: Run, target: RunningTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(machine: Machine) -> None:
        await machine.boot()
        target.pace(0.2)
        await begun(machine)
        target.target.initiator.is_stubborn = True
        target.pace(3600)
        monkeypatch.setattr(transfer, "STALL_SECONDS", 0.5)
        while (found := await machine.agent.syncs.read("v")).state is SyncState.RUNNING:
            await asyncio.sleep(0.01)
        assert "stands still" in found.message
        await machine.agent.volumes.ensure("other", volume(piece("s", SIZE)))
        await machine.agent.volumes.remove("other", 1)
        names = {name for _, name, *_ in (await machine.seen())["lvols"]}
        assert names == {"shared", "v-v", "v-w"}
        target.restart()
        await machine.start()
        assert {name for _, name, *_ in (await machine.seen())["lvols"]} == {"v-v", "v-w"}

    run(steps)


def test_a_copy_with_a_layer_that_is_not_seen(run: Run, target: RunningTarget) -> None:
    """SPDK loses sight of a snapshot whose removal failed: what is above it is not whole."""

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
        view = await View.read(machine.rpc)
        with pytest.raises(NotAsAsked, match="not to be seen"):
            view.chain(view.lvstores["ssd-s"], "v-v")
        assert view.unseen(view.lvstores["ssd-s"]) == CLUSTERS

    run(steps)
