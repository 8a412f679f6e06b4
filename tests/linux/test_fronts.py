"""A front that cannot be created or resumed is tried again, and nothing else depends on it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from inventory.nodes.engines.base import VolumesLeftOut
from inventory.nodes.engines.linux.kernel import CommandFailed, Stuck
from tests.linux.machine import Machine, on_machine, two
from tests.nodes.specs import MIB, TARGET, namespace, piece, snapshot, volume

TAKEN = snapshot(*two(64, 32), volume_uuid="v")


def at_first(verb: str, act: Callable[[str], None]) -> Callable[[tuple[str, ...]], None]:
    """Return an ``on_call`` that acts before the first ``dmsetup`` command with this verb, with the
    name of its device.
    """
    left = [act]

    def on_call(words: tuple[str, ...]) -> None:
        if words[:2] == ("dmsetup", verb) and left:
            left.pop()(words[2])

    return on_call


def suspended(machine: Machine) -> list[str]:
    return [one.name for one in machine.kernel.mapper.devices.values() if one.is_suspended]


def test_a_suspend_that_does_not_end_in_time_is_undone(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await machine.agent.volumes.ensure("v", volume(*two(64, 32), generation=7))

        def hang(name: str) -> None:
            machine.kernel.mapper.devices[name].is_suspended = True
            raise Stuck("dmsetup suspend did not end within 60 s")

        machine.kernel.on_call = at_first("suspend", hang)
        with pytest.raises(Stuck, match="suspend"):
            await machine.agent.snapshots.ensure("taken", TAKEN)
        assert suspended(machine) == []
        await machine.agent.snapshots.ensure("taken", TAKEN)

    on_machine(tmp_path, steps)


def test_a_suspend_whose_caller_is_cancelled_is_undone(tmp_path: Path) -> None:
    """The command goes on, so the resume must come after its end."""

    async def steps(machine: Machine) -> None:
        await machine.agent.volumes.ensure("v", volume(*two(64, 32), generation=7))
        call = asyncio.ensure_future(machine.agent.snapshots.ensure("taken", TAKEN))

        def cancel(name: str) -> None:
            call.cancel()

        machine.kernel.turns["suspend"] = 100
        machine.kernel.on_call = at_first("suspend", cancel)
        await asyncio.wait([call])
        assert call.cancelled()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
        assert machine.kernel.log[-1][:2] == ("dmsetup", "resume")
        assert suspended(machine) == []

    on_machine(tmp_path, steps)


def test_a_front_that_cannot_be_resumed_is_resumed_by_the_next_start(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await machine.agent.volumes.ensure("v", volume(*two(64, 32), generation=7))

        def fail(name: str) -> None:
            raise CommandFailed(("dmsetup", "resume"), 1, f"{name} failed")

        machine.kernel.on_call = at_first("resume", fail)
        with pytest.raises(CommandFailed, match="resume"):
            await machine.agent.snapshots.ensure("taken", TAKEN)
        assert len(suspended(machine)) == 1
        async with asyncio.timeout(5):
            await machine.engine.lost()
        await machine.agent.start()
        assert suspended(machine) == []

    on_machine(tmp_path, steps)


async def exported(machine: Machine) -> None:
    """Export a volume on both SSDs, and one on the SSD ``s``, in one target."""
    await machine.agent.volumes.ensure("w", volume(*two(64, 64)))
    await machine.agent.volumes.ensure("v", volume(piece("s", 64 * MIB)))
    for nsid, uuid in enumerate("wv", 1):
        await machine.agent.targets.ensure(TARGET, uuid, namespace(nsid))


def fail_create(words: tuple[str, ...]) -> None:
    if words[:2] == ("dmsetup", "create"):
        raise CommandFailed(words, 1, "Device or resource busy")


def seen(machine: Machine) -> list[int]:
    """The namespaces that hosts see."""
    return sorted(machine.kernel.nvmet.subsystems[TARGET].namespaces)


def test_a_front_that_a_start_could_not_create_is_tried_again(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await exported(machine)
        machine.kernel.reboot()
        machine.kernel.on_call = fail_create
        agent = machine.agent
        await agent.start()
        assert await agent.repair() is False
        assert seen(machine) == [2]
        with pytest.raises(VolumesLeftOut, match="without w"):
            await agent.targets.ensure(TARGET, "w", namespace(1))
        assert await agent.targets.ensure(TARGET, "v", namespace(2)) is False
        await agent.volumes.ensure("x", volume(piece("s", 64 * MIB)))
        assert await agent.targets.ensure(TARGET, "x", namespace(3)) is True
        await agent.targets.remove(TARGET, "x", 1)
        assert await agent.repair() is False
        machine.kernel.on_call = lambda words: None
        assert await agent.repair() is True
        assert seen(machine) == [1, 2]

    on_machine(tmp_path, steps)


def test_a_repeated_export_creates_a_front_that_is_missing(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await exported(machine)
        machine.kernel.reboot()
        machine.kernel.on_call = fail_create
        await machine.agent.start()
        machine.kernel.on_call = lambda words: None
        assert await machine.agent.targets.ensure(TARGET, "w", namespace(1)) is False
        assert seen(machine) == [1, 2]

    on_machine(tmp_path, steps)


def test_a_volume_on_an_absent_ssd_is_left_out_of_its_target(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await exported(machine)
        machine.drives[1].is_there = False
        agent = await machine.reboot()
        assert await agent.repair() is True
        assert seen(machine) == [2]
        assert await agent.targets.ensure(TARGET, "v", namespace(2)) is False

    on_machine(tmp_path, steps)
