"""SSDs of the SPDK engine: those that it uses, and those that it does not touch."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inventory.nodes.drift import DriftItem, DriftKind
from inventory.nodes.engines.spdk.config import SsdConfig
from inventory.nodes.wire import ProvisioningType, RefusalCode
from tests.nodes.specs import MIB, TARGET, namespace, piece, volume
from tests.spdk.client import Client
from tests.spdk.machine import SSD_BYTES, Disk, Machine, Run, refused
from tests.spdk.running import RunningTarget

SIZE = 64 * MIB
FULL = 900 * MIB
CLUSTER = 4 * MIB
BLOCK = 4096
OLD = b"old!" * (BLOCK // 4)
THIN = ProvisioningType.THIN


def ids(agent_ssds: Any) -> list[str]:
    return [ssd.ssd_id for ssd in agent_ssds]


@pytest.mark.parametrize("zeroes", [True, False])
def test_a_new_volume_does_not_show_old_data_of_the_drive(run: Run, *, zeroes: bool) -> None:
    async def steps(machine: Machine) -> None:
        machine.ssds = tuple(replace(ssd, zeroes_on_unmap=zeroes) for ssd in machine.ssds)
        fill(machine.folder / "s", 2 * MIB)
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("s", FULL)))
        async with Disk(machine, "v") as host:
            for at in range(0, FULL, 2 * MIB):
                assert not any(host.read(1, at, BLOCK))

    run(steps)


def test_a_drive_that_holds_data_is_formatted_only_on_request(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def steps(machine: Machine) -> None:
        fill(machine.folder / "s", 0)
        agent = await machine.boot()
        assert ids((await machine.facts()).ssds) == ["t"]
        assert "is not empty" in caplog.text
        assert machine.engine._stores.retries.seconds is None, "another attempt is useless"
        spec = volume(piece("s", SIZE))
        await refused(RefusalCode.UNAVAILABLE, agent.volumes.ensure("v", spec), "SSD s")
        first, second = machine.ssds
        machine.ssds = replace(first, format=True), second
        agent = await machine.boot()
        await agent.volumes.ensure("v", spec)
        await machine.boot()
        names = [name for _, name, *_ in (await machine.seen())["lvols"]]
        assert names == ["v-v"], "what was formatted once is not formatted again"

    run(steps)


def test_another_lvstore_is_replaced_only_on_request(run: Run, target: RunningTarget) -> None:
    async def steps(machine: Machine) -> None:
        call = Client(target.socket)
        file = str(machine.folder / "s")
        call("bdev_aio_create", name="ssd-s", filename=file, block_size=4096)
        call("bdev_lvol_create_lvstore", bdev_name="ssd-s", lvs_name="theirs")
        await machine.boot()
        assert ids((await machine.facts()).ssds) == ["t"]
        assert [one["name"] for one in call("bdev_lvol_get_lvstores")] == ["theirs", "ssd-t"]
        first, second = machine.ssds
        machine.ssds = replace(first, format=True), second
        await machine.boot()
        assert ids((await machine.facts()).ssds) == ["s", "t"]
        call.close()

    run(steps)


def test_a_bdev_is_formatted_only_on_request(run: Run, target: RunningTarget) -> None:
    """SPDK cannot show whether it holds data."""

    async def steps(machine: Machine) -> None:
        call = Client(target.socket)
        call("bdev_malloc_create", name="m", num_blocks=SSD_BYTES // BLOCK, block_size=BLOCK)
        _, second = machine.ssds
        bdev = SsdConfig(id="m", name="m", bdev="m")
        machine.ssds = bdev, second
        await machine.boot()
        assert ids((await machine.facts()).ssds) == ["t"]
        machine.ssds = replace(bdev, format=True), second
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("m", SIZE)))
        machine.ssds = bdev, second
        await machine.boot()
        assert ids((await machine.facts()).ssds) == ["m", "t"]
        call.close()

    run(steps)


def test_an_engine_that_lost_its_state_uses_its_own_lvstore(run: Run) -> None:
    """Its lvols are reported as drift. On request, the lvstore is created again."""

    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("s", SIZE)))
        for file in machine.folder.glob("*.sqlite3*"):
            file.unlink()
        agent = await machine.boot()
        assert (await agent.drift()).strays == (DriftItem(kind=DriftKind.LVOL, name="s/v-v"),)
        ssd = (await machine.facts()).ssds[0]
        assert (ssd.outgrown, ssd.free) == (SIZE, ssd.capacity - SIZE)
        machine.ssds = tuple(replace(one, format=True) for one in machine.ssds)
        for file in machine.folder.glob("*.sqlite3*"):
            file.unlink()
        await machine.boot()
        assert (await machine.seen())["lvols"] == []

    run(steps)


def test_a_drive_that_lost_its_lvstore_is_not_formatted(run: Run, target: RunningTarget) -> None:
    async def steps(machine: Machine) -> None:
        await machine.boot()
        target.kill()
        (machine.folder / "s").write_bytes(b"")
        with (machine.folder / "s").open("r+b") as file:
            file.truncate(SSD_BYTES)
        target.start()
        agent = await machine.boot()
        assert ids((await machine.facts()).ssds) == ["t"]
        await agent.volumes.ensure("v", volume(piece("t", SIZE)))

    run(steps)


def test_volumes_on_a_missing_ssd_return_with_it(
    run: Run, target: RunningTarget, caplog: pytest.LogCaptureFixture
) -> None:
    """Other volumes stay available. Its own volumes are not listed until it is back."""

    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        spanned = volume(piece("s", SIZE), piece("t", SIZE))
        for uuid, spec in (("here", volume(piece("t", SIZE))), ("both", spanned)):
            await agent.volumes.ensure(uuid, spec)
        await agent.targets.ensure(TARGET, "here", namespace(1))
        await agent.targets.ensure(TARGET, "both", namespace(2))
        (machine.folder / "s").rename(machine.folder / "away")
        target.restart()
        agent = await machine.boot()
        assert "SSD s cannot be used" in caplog.text
        assert [one.uuid for one in await agent.volumes.list()] == ["here"]
        assert ids((await agent.node()).ssds) == ["t"]
        seen = await machine.seen()
        assert list(seen["subsystems"][TARGET][3]) == [1]
        assert seen["raids"] == []
        await refused(
            RefusalCode.UNAVAILABLE, agent.targets.ensure("nqn.2022-08.a:b", "both", namespace())
        )
        (machine.folder / "away").rename(machine.folder / "s")
        await machine.engine.lost()
        await machine.start()
        assert [one.uuid for one in await agent.volumes.list()] == ["both", "here"]
        seen = await machine.seen()
        assert seen["raids"] == [("v-both", "online", 2)]
        assert list(seen["subsystems"][TARGET][3]) == [1, 2]

    run(steps)


def test_a_removal_is_finished_when_the_missing_ssd_returns(
    run: Run, target: RunningTarget
) -> None:
    """Before that, it is not reported as done."""

    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("s", SIZE), piece("t", SIZE)))
        (machine.folder / "s").rename(machine.folder / "away")
        target.restart()
        agent = await machine.boot()
        await refused(RefusalCode.UNAVAILABLE, agent.volumes.remove("v", 1), "SSD s")
        assert [name for _, name, *_ in (await machine.seen())["lvols"]] == ["v-v"]
        (machine.folder / "away").rename(machine.folder / "s")
        agent = await machine.boot()
        seen = await machine.seen()
        assert (seen["lvols"], seen["raids"]) == ([], [])
        assert await agent.volumes.list() == ()

    run(steps)


def fill(file: Path, start: int) -> None:
    """Write old data to the start of each block of 2 MiB from ``start`` on."""
    with file.open("r+b") as opened:
        for at in range(start, SSD_BYTES, 2 * MIB):
            opened.seek(at)
            opened.write(OLD)


@pytest.fixture(autouse=True)
def _all_that_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
