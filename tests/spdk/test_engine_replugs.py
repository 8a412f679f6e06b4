"""SSDs that are missing at a start of SPDK or removed while it runs, and return: their free space
may hold data of deleted volumes, which no volume ever shows.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from inventory.nodes.engines.spdk.rpc import NotAsAsked, RpcLost, RpcRefused
from inventory.nodes.engines.spdk.zeroing import Zeroing
from inventory.nodes.wire import ProvisioningType, RefusalCode
from tests.nodes.specs import MIB, TARGET, namespace, piece, snapshot, volume
from tests.spdk.clearing_steps import FOR_EVER, SIZE, endless_removal, fill, removal
from tests.spdk.client import Client
from tests.spdk.host import IoFailed
from tests.spdk.machine import Died, Disk, Machine, Run, refused
from tests.spdk.rpc import Refused
from tests.spdk.running import RunningTarget

CLUSTER = 4 * MIB
THIN = volume(piece("s", SIZE), provisioning_type=ProvisioningType.THIN)
TAKEN = snapshot(piece("s", SIZE), volume_uuid="kept", volume_generation=1)

Returns = Callable[[Machine], Awaitable[None]]


async def seen_absent(machine: Machine) -> None:
    """The agent sees that the SSD is absent, and then that it is back."""
    machine.pull("s")
    await machine.engine.lost()
    await machine.start()
    assert [one.ssd_id for one in (await machine.facts()).ssds] == ["t"]
    machine.plug("s")
    await machine.engine.lost()
    await machine.start()


async def unseen(machine: Machine) -> None:
    """The agent never sees that the SSD is absent."""
    machine.replug("s")
    await machine.engine.lost()
    await machine.start()


async def while_the_agent_is_away(machine: Machine) -> None:
    machine.kill()
    machine.replug("s")
    machine.boots = 0
    await machine.boot()


RETURNS: tuple[Returns, ...] = (seen_absent, unseen, while_the_agent_is_away)


async def check_no_old_data(machine: Machine, *, kept: bool = False) -> None:
    """A new volume over all free space reads as zeros. ``kept``: the volume ``kept`` still shows
    its data.
    """
    [ssd] = [one for one in (await machine.facts()).ssds if one.ssd_id == "s"]
    await machine.agent.volumes.ensure("new", volume(piece("s", ssd.free)))
    async with Disk(machine, "new") as host:
        assert not any(any(host.read(1, at, 4)) for at in range(0, ssd.free, CLUSTER))
    if kept:
        async with Disk(machine, "kept") as host:
            assert all(host.read(1, at, 4) == b"old!" for at in range(0, SIZE, CLUSTER))


async def removal_cut_by_a_crash(machine: Machine, target: RunningTarget) -> None:
    removing = await endless_removal(machine, target)
    target.restart()
    with suppress(RpcLost):
        await removing


@pytest.mark.parametrize("zeroes", [True, False])
def test_an_ssd_missing_at_the_start_of_spdk_is_cleared_when_it_returns(
    run: Run, target: RunningTarget, *, zeroes: bool
) -> None:
    async def steps(machine: Machine) -> None:
        machine.use_ssds(zeroes=zeroes)
        await removal_cut_by_a_crash(machine, target)
        machine.pull("s")
        await machine.boot()
        assert [one.ssd_id for one in (await machine.facts()).ssds] == ["t"]
        machine.plug("s")
        await machine.engine.lost()
        await machine.start()
        await check_no_old_data(machine, kept=True)

    run(steps)


@pytest.mark.parametrize("method", ["bdev_lvol_create", "bdev_set_qd_sampling_period"])
def test_an_ssd_whose_space_could_not_be_taken_is_cleared_by_the_next_agent(
    run: Run, target: RunningTarget, method: str
) -> None:
    async def steps(machine: Machine) -> None:
        machine.use_ssds(zeroes=False)
        await removal_cut_by_a_crash(machine, target)
        refusals = target.target.server.refusals
        refusals[method] = Refused(-32603, "Input/output error")
        await machine.boot()
        assert "s" not in [one.ssd_id for one in (await machine.facts()).ssds]
        refusals.clear()
        await machine.boot()
        await check_no_old_data(machine, kept=True)

    run(steps)


def test_an_agent_that_died_before_it_took_the_space_leaves_it_to_the_next_one(
    run: Run, target: RunningTarget
) -> None:
    async def steps(machine: Machine) -> None:
        machine.use_ssds(zeroes=False)
        await removal_cut_by_a_crash(machine, target)
        machine.rpc.dies_before("bdev_lvol_create")
        with pytest.raises(Died):
            await machine.start()
        await machine.boot()
        await check_no_old_data(machine, kept=True)

    run(steps)


def test_an_ssd_replugged_while_its_space_is_taken_is_taken_again(
    run: Run, target: RunningTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(machine: Machine) -> None:
        machine.use_ssds(zeroes=False)
        await removal_cut_by_a_crash(machine, target)

        async def fill(*args: object) -> None:
            machine.replug("s")

        with monkeypatch.context() as patch:
            patch.setattr(Zeroing, "_fill", fill)
            with pytest.raises(NotAsAsked, match="removed during the start"):
                await machine.start()
        await machine.start()
        await check_no_old_data(machine, kept=True)

    run(steps)


@pytest.mark.parametrize("returns", RETURNS)
@pytest.mark.parametrize("zeroes", [True, False])
def test_an_ssd_removed_during_a_removal_is_cleared_when_it_returns(
    run: Run, target: RunningTarget, returns: Returns, *, zeroes: bool
) -> None:
    async def steps(machine: Machine) -> None:
        machine.use_ssds(zeroes=zeroes)
        removing = await endless_removal(machine, target)
        target.clear_for(0)
        await returns(machine)
        with suppress(RpcLost, RpcRefused):
            await removing
        await check_no_old_data(machine, kept=True)

    run(steps)


@pytest.mark.parametrize("returns", RETURNS)
def test_an_ssd_removed_during_a_first_write_is_cleared_when_it_returns(
    run: Run, target: RunningTarget, returns: Returns
) -> None:
    """SPDK was copying a cluster of a volume with a snapshot."""

    async def steps(machine: Machine) -> None:
        machine.use_ssds(zeroes=False)
        agent = await machine.boot()
        await agent.volumes.ensure("kept", THIN)
        await fill(machine, "kept")
        await agent.snapshots.ensure("taken", TAKEN)
        target.run(lambda fake: fake.lose_copying("ssd-s"))
        async with Disk(machine, "kept") as host:
            with pytest.raises(IoFailed):
                host.write(1, 0, b"more" * 1024)
        await returns(machine)
        await check_no_old_data(machine, kept=True)

    run(steps)


@pytest.mark.parametrize("is_pulled", [True, False])
def test_an_ssd_that_changes_during_a_start_is_noticed(
    run: Run, monkeypatch: pytest.MonkeyPatch, *, is_pulled: bool
) -> None:
    """Volumes on an SSD that was removed are not taken for lost."""

    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        spec = volume(piece("t", SIZE))
        await agent.volumes.ensure("v", spec)
        if not is_pulled:
            machine.pull("t")
        real = Zeroing.take

        async def take(zeroing: Zeroing) -> None:
            await real(zeroing)
            await asyncio.to_thread(machine.pull if is_pulled else machine.plug, "t")

        with monkeypatch.context() as patch:
            patch.setattr(Zeroing, "take", take)
            await machine.launch()
        agent = machine.agent
        await refused(RefusalCode.UNAVAILABLE, agent.volumes.ensure("v", spec), "missing")
        async with asyncio.timeout(30):
            await machine.engine.lost()
        await machine.start()
        assert machine.engine.absent_ssds == (frozenset("t") if is_pulled else frozenset())

    run(steps)


def test_a_replugged_ssd_is_not_used_before_the_next_start(run: Run, target: RunningTarget) -> None:
    async def steps(machine: Machine) -> None:
        machine.use_ssds(zeroes=False)
        agent = await machine.boot()
        await agent.volumes.ensure("thin", THIN)
        await agent.volumes.ensure("old", volume(piece("s", SIZE)))
        await fill(machine, "old")
        await agent.targets.ensure(TARGET, "thin", namespace())
        target.clear_for(FOR_EVER)
        removing = await removal(machine, "old")
        machine.replug("s")
        target.clear_for(0)
        with suppress(RpcRefused):
            await removing
        spec = volume(piece("s", SIZE))
        larger = volume(piece("s", 2 * SIZE), provisioning_type=ProvisioningType.THIN)
        unavailable = RefusalCode.UNAVAILABLE
        await refused(unavailable, agent.volumes.ensure("new", spec), "has returned")
        await refused(unavailable, agent.volumes.change("thin", larger), "has returned")
        again = agent.targets.ensure(TARGET, "thin", namespace(generation=2))
        await refused(unavailable, again, "has returned")
        lvstore = machine.engine._spdk_state.lvstores["ssd-s"]
        await machine.engine._clearing._note_cleared("s")
        assert machine.engine._engine_state.clearing(lvstore.uuid) >= {"v-old"}
        await machine.engine.lost()
        await machine.start()
        assert list((await machine.seen())["subsystems"][TARGET][3]) == [1], "exported again"
        assert machine.engine._engine_state.clearing(lvstore.uuid) == set()
        await agent.volumes.ensure("new", spec)
        async with Disk(machine, "new") as host:
            assert not any(any(host.read(1, at, 4)) for at in range(0, SIZE, CLUSTER))

    run(steps)


def test_an_agent_that_restarts_alone_clears_nothing(run: Run, target: RunningTarget) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("kept", THIN)
        await agent.snapshots.ensure("taken", TAKEN)
        await agent.targets.ensure(TARGET, "kept", namespace())
        before = await machine.seen()
        await machine.boot()
        assert "bdev_lvol_create" not in machine.rpc.calls
        assert await machine.seen() == before
        target.restart()
        await machine.boot()
        assert "bdev_lvol_create" in machine.rpc.calls, "a cluster may have been copied"

    run(steps)


def test_space_is_not_taken_while_hosts_use_the_ssd(run: Run, target: RunningTarget) -> None:
    """A target that an earlier version of the agent has started has no marks."""

    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("kept", THIN)
        await agent.volumes.ensure("span", volume(piece("s", SIZE), piece("t", SIZE)))
        await agent.targets.ensure(TARGET, "span", namespace())
        unmark(machine)
        await machine.boot()
        assert "bdev_lvol_create" not in machine.rpc.calls, "nothing was deleted or copied"
        await machine.agent.snapshots.ensure("taken", TAKEN)
        before = await machine.seen()
        unmark(machine)
        with pytest.raises(NotAsAsked, match="restart the target"):
            await machine.boot()
        assert await machine.seen() == before
        target.restart()
        await machine.boot()
        assert (await machine.seen())["subsystems"] == before["subsystems"]

    run(steps)


def unmark(machine: Machine) -> None:
    call = Client(machine.socket)
    for name in ("ssd-s", "ssd-t"):
        call("bdev_set_qd_sampling_period", name=name, period=0)
    call.close()


def test_the_fake_forgets_the_mark_of_a_drive_with_its_bdev(call: Client, drive: Path) -> None:
    def put() -> None:
        call("bdev_aio_create", name="d", filename=str(drive), block_size=4096)

    def period() -> object:
        [shown] = call("bdev_get_iostat", names=["d"])["bdevs"]
        return shown.get("queue_depth_polling_period")

    put()
    assert period() is None
    call("bdev_set_qd_sampling_period", name="d", period=10)
    assert period() == 10
    call("bdev_aio_delete", name="d")
    call.fails(-19, "bdev_get_iostat", names=["d"])
    call.fails(-19, "bdev_set_qd_sampling_period", name="d", period=10)
    put()
    assert period() is None
