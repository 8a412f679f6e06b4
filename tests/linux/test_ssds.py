"""SSDs of the engine over the Linux kernel: taken into use, full, broken, or missing."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from inventory.nodes.engines.linux.kernel import Stuck
from inventory.nodes.wire import ProvisioningType, RefusalCode, VolumeSpec
from tests.linux.crowd import crowd
from tests.linux.drives import Drive
from tests.linux.machine import Died, Machine, on_machine, refused, two
from tests.linux.udev import MD_MAGIC, MD_OFFSET
from tests.nodes.specs import MIB, TARGET, namespace, piece, snapshot, volume

SPEC = volume(piece("s", 64 * MIB))
SPAN = volume(*two(64, 32))
THIN = ProvisioningType.THIN

Fill = Callable[[Drive], None]


def foreign_group(drive: Drive) -> None:
    drive.make_group("somebodys")


def file_system(drive: Drive) -> None:
    drive.signatures = ["ext4"]


def raw_data(drive: Drive) -> None:
    drive.has_data = True


@pytest.mark.parametrize("fill", [foreign_group, file_system, raw_data])
def test_a_drive_that_holds_something_is_taken_only_on_request(tmp_path: Path, fill: Fill) -> None:
    async def main() -> None:
        machine = Machine(tmp_path / "m")
        drive = machine.drives[1]
        fill(drive)
        before = (drive.group, list(drive.signatures), drive.has_data)
        await machine.boot()
        assert machine.usable == ["s"]
        assert (drive.group, drive.signatures, drive.has_data) == before
        assert machine.engine._stores.retries.seconds is None, "another attempt is useless"
        machine.format("t")
        await machine.boot()
        assert machine.usable == ["s", "t"]
        assert drive.group is not before[0]
        made = drive.group
        await machine.boot()
        assert drive.group is made, "formatted once, even if it is asked for again"
        machine.kill()

    asyncio.run(main())


@pytest.mark.parametrize("ssd_id", ["s", "an id with spaces"])
def test_an_array_of_a_host_is_never_started_on_the_node(tmp_path: Path, ssd_id: str) -> None:
    """udev would start it as soon as its volume is activated, and the volume would be in use."""

    async def main() -> None:
        machine = Machine(tmp_path / "m")
        first, second = machine.config.ssds
        machine.config = replace(machine.config, ssds=(replace(first, id=ssd_id), second))
        await machine.boot()
        spec = volume(piece(ssd_id, 64 * MIB))
        await machine.agent.volumes.ensure("v", spec)
        async with machine.disk("v") as disk:
            disk.write(MD_OFFSET, MD_MAGIC)
        taken = snapshot(
            piece(ssd_id, 64 * MIB), volume_uuid="v", volume_generation=spec.generation
        )
        await machine.agent.snapshots.ensure("s", taken)
        await machine.reboot()
        await machine.agent.snapshots.remove("s", 1)
        await machine.agent.volumes.remove("v", 1)
        machine.kill()

    asyncio.run(main())


def test_ssds_are_listed_as_configured_however_long_each_takes_to_open(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        machine.drives[0].turns = 50
        await machine.reboot()
        assert [ssd.ssd_id for ssd in (await machine.engine.facts()).ssds] == ["s", "t"]

    on_machine(tmp_path, steps)


def test_an_ssd_takes_two_thousand_volumes(tmp_path: Path) -> None:
    """LVM's text about the volume group has space for them."""

    async def main() -> None:
        machine = Machine(tmp_path / "m")
        await crowd(machine, 2000)
        await machine.agent.volumes.ensure("one-more", SPEC)
        machine.kill()

    asyncio.run(main())


def test_a_replaced_drive_is_not_taken_for_the_former_one(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await machine.agent.volumes.ensure("v", SPEC)
        drive = machine.drives[0]
        drive.group, drive.signatures, drive.has_data = None, [], False
        machine.format("s")
        await machine.reboot()
        assert machine.usable == ["t"]
        assert drive.group is None
        await refused(RefusalCode.UNAVAILABLE, machine.agent.volumes.ensure("v", SPEC), "missing")

    on_machine(tmp_path, steps)


def test_a_crash_while_a_drive_is_taken_into_use_is_harmless(tmp_path: Path) -> None:
    async def main() -> None:
        for call in range(1, 200):
            machine = Machine(tmp_path / f"m{call}")
            try:
                await machine.boot(dies_at=call)
            except Died:
                await machine.boot()
            else:
                machine.kill()
                return
            assert machine.usable == ["s", "t"]
            pools = [drive.group.pool for drive in machine.drives if drive.group]
            assert all(pool and pool.fails_when_full for pool in pools)
            await machine.agent.volumes.ensure("v", SPEC)
            machine.kill()
        raise AssertionError("the loop must end")

    asyncio.run(main())


def test_a_drive_that_hangs_stops_only_its_volumes(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        other = volume(piece("t", 64 * MIB))
        await machine.agent.volumes.ensure("v", SPEC)
        await machine.agent.volumes.ensure("w", other)
        machine.drives[0].hangs = True
        with pytest.raises(Stuck):
            await machine.agent.volumes.remove("v", 1)
        async with asyncio.timeout(5):
            await machine.engine.lost()
        await machine.agent.start()
        assert machine.usable == ["t"]
        assert await machine.agent.volumes.ensure("w", other) is False
        await machine.agent.volumes.ensure("x", other)
        await refused(
            RefusalCode.UNAVAILABLE, machine.agent.volumes.ensure("y", SPEC), "s is missing"
        )
        machine.drives[0].hangs = False
        await machine.boot()
        assert machine.usable == ["s", "t"]
        assert [one.uuid for one in await machine.agent.volumes.list()] == ["w", "x"]

    on_machine(tmp_path, steps)


@pytest.mark.parametrize(("place", "spec"), [(0, SPEC), (0, SPAN), (1, SPAN)])
def test_a_drive_that_was_pulled_is_used_again(
    tmp_path: Path, place: int, spec: VolumeSpec
) -> None:
    async def steps(machine: Machine) -> None:
        drive = machine.drives[place]
        await machine.agent.volumes.ensure("v", spec)
        await machine.agent.targets.ensure(TARGET, "v", namespace())
        machine.connect(TARGET).device(1).write(0, b"kept" * 1024)
        machine.kernel.pull(drive)
        async with asyncio.timeout(5):
            await machine.engine.lost()
        await machine.agent.start()
        assert machine.usable == ["ts"[place]]
        assert machine.connect(TARGET).device(1) is None
        await refused(RefusalCode.UNAVAILABLE, machine.agent.volumes.ensure("v", spec), "missing")
        machine.kernel.plug(drive)
        async with asyncio.timeout(5):
            await machine.engine.lost()
        await machine.agent.start()
        assert machine.usable == ["s", "t"]
        assert machine.connect(TARGET).device(1).read(0, 4096) == b"kept" * 1024
        assert await machine.drift() == []

    on_machine(tmp_path, steps)


def test_a_drive_that_was_pulled_while_the_agent_was_down_needs_a_restart(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await machine.agent.volumes.ensure("v", SPEC)
        await machine.agent.targets.ensure(TARGET, "v", namespace())
        machine.kernel.pull(machine.drives[0])
        machine.kernel.plug(machine.drives[0])
        await machine.boot()
        assert machine.usable == ["t"]
        await machine.reboot()
        assert machine.usable == ["s", "t"]
        assert machine.connect(TARGET).device(1)

    on_machine(tmp_path, steps)


def test_devices_that_a_killed_command_suspended_are_resumed(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await machine.agent.volumes.ensure("v", SPEC)
        for device in machine.kernel.mapper.devices.values():
            device.is_suspended = True
        await machine.boot()
        assert not any(one.is_suspended for one in machine.kernel.mapper.devices.values())

    on_machine(tmp_path, steps)


def test_a_pool_missing_in_a_single_check_does_not_restart_the_node(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        group = machine.drives[0].group
        assert group
        assert group.pool
        pool, seen = group.pool, list[str]()

        def on_call(words: tuple[str, ...]) -> None:
            if words[:2] == ("dmsetup", "status"):
                seen.append(pool.mode)
                pool.mode = "Fail" if len(seen) == 2 else "rw"

        machine.kernel.on_call = on_call
        watching = asyncio.create_task(machine.engine.lost())
        while len(seen) < 8:
            await asyncio.sleep(0)
        assert not watching.done()
        watching.cancel()
        assert "Fail" in seen

    on_machine(tmp_path, steps)


def test_a_failed_pool_is_noticed(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await machine.agent.volumes.ensure("v", SPEC)
        group = machine.drives[0].group
        assert group
        assert group.pool
        group.pool.mode = "Fail"
        async with asyncio.timeout(5):
            await machine.engine.lost()
        await machine.agent.start()
        assert machine.usable == ["t"]
        assert await machine.agent.volumes.list() == ()

    on_machine(tmp_path, steps)


def test_a_pool_whose_check_fails_is_left_alone(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        group = machine.drives[0].group
        assert group
        assert group.pool
        group.pool.is_broken = True
        await machine.reboot()
        assert machine.usable == ["t"]

    on_machine(tmp_path, steps)


def test_a_read_only_pool_takes_nothing_new(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await machine.agent.volumes.ensure("v", SPEC)
        group = machine.drives[0].group
        assert group
        assert group.pool
        group.pool.mode, group.pool.needs_check = "ro", True
        assert await machine.free() == 0
        assert await machine.agent.volumes.ensure("v", SPEC) is False
        create = machine.agent.volumes.ensure("w", SPEC)
        await refused(RefusalCode.UNAVAILABLE, create, "needs a check")
        create = machine.agent.volumes.ensure("t", volume(piece("t", 64 * MIB)))
        assert await create is True

    on_machine(tmp_path, steps)


def test_full_metadata_take_no_more_volumes_and_snapshots(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await machine.agent.volumes.ensure("v", volume(piece("s", 64 * MIB), generation=7))
        group = machine.drives[0].group
        assert group
        assert group.pool
        group.pool.metadata_blocks = 12
        spec = volume(piece("s", 64 * MIB, 0), provisioning_type=THIN)
        create = machine.agent.volumes.ensure("w", spec)
        await refused(RefusalCode.NO_SPACE, create, "10 of 12", "metadata")
        taken = snapshot(piece("s", 64 * MIB, 0), volume_uuid="v")
        take = machine.agent.snapshots.ensure("taken", taken)
        await refused(RefusalCode.NO_SPACE, take, "metadata")

    on_machine(tmp_path, steps)


def test_a_full_pool_fails_writes_and_promises_nothing(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        size = 512 * MIB
        spec = volume(piece("s", size, 0), provisioning_type=THIN)
        await machine.agent.volumes.ensure("thin", spec)
        group = machine.drives[0].group
        assert group
        assert group.pool
        group.pool.total = 16  # chunks of 64 KiB
        async with machine.disk("thin") as disk:
            with pytest.raises(OSError, match="No space left"):
                disk.write(0, b"x" * 2 * MIB)
            assert await machine.free() == 0
            await refused(
                RefusalCode.NO_SPACE, machine.agent.volumes.ensure("w", SPEC), "less than"
            )
            nothing = volume(piece("s", 64 * MIB, 0), provisioning_type=THIN)
            create = machine.agent.volumes.ensure("w", nothing)
            await refused(RefusalCode.NO_SPACE, create, "is full")
            assert disk.read(0, MIB) == b"x" * MIB
            disk.discard(0, MIB)
        assert await machine.free() == MIB

    on_machine(tmp_path, steps)


def test_space_is_never_promised_twice(tmp_path: Path) -> None:
    """Space that a thin volume uses beyond its allocation is not free. Space of a thick volume is
    not counted again when it is written or shared.
    """

    async def steps(machine: Machine) -> None:
        empty = await machine.free()
        await machine.agent.volumes.ensure("thick", volume(piece("s", 64 * MIB), generation=7))
        spec = volume(piece("s", 64 * MIB, 4096), provisioning_type=THIN)
        await machine.agent.volumes.ensure("thin", spec)
        assert await machine.free() == empty - 64 * MIB - 4096
        for uuid in ("thick", "thin"):
            async with machine.disk(uuid) as disk:
                disk.write(0, b"x" * 2 * MIB)
        assert await machine.free() == empty - 66 * MIB
        taken = snapshot(piece("s", 64 * MIB, 0), volume_uuid="thick")
        await machine.agent.snapshots.ensure("taken", taken)
        assert await machine.free() == empty - 66 * MIB
        async with machine.disk("thick") as disk:
            disk.write(0, b"y" * MIB)
        assert await machine.free() == empty - 66 * MIB, "3 MiB of 64 are owned"
        much = (await machine.free()) // (4 * MIB) * 4 * MIB
        await machine.agent.volumes.ensure("rest", volume(piece("s", much)))
        create = machine.agent.volumes.ensure("more", volume(piece("s", 4 * MIB)))
        await refused(RefusalCode.NO_SPACE, create)

    on_machine(tmp_path, steps)
