"""A front that a snapshot suspends is resumed, whatever happens meanwhile."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from inventory.nodes.engines.linux.kernel import CommandFailed, Stuck
from tests.linux.machine import Machine, on_machine, two
from tests.nodes.specs import snapshot, volume

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
