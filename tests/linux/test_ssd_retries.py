"""SSDs of the engine over the Linux kernel that fail or change while the agent starts."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from inventory.nodes.engines.linux import stores
from inventory.nodes.engines.linux.fronts import Fronts
from tests.linux.lvm import FakeLvm, Refused
from tests.linux.machine import Machine, export, on_machine, two
from tests.nodes.specs import TARGET, volume

SPAN = volume(*two(64, 32))


def test_an_ssd_whose_command_failed_once_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "RETRY_SECONDS", 0.01)

    async def steps(machine: Machine) -> None:
        await export(machine)
        with monkeypatch.context() as patch:
            patch.setattr(FakeLvm, "run", failing(FakeLvm.run, "vgchange"))
            await machine.reboot()
            assert machine.usable == []
            for _ in range(2):
                async with asyncio.timeout(30):
                    await machine.engine.lost()
                await machine.agent.start()
            assert machine.usable == []
        async with asyncio.timeout(30):
            await machine.engine.lost()
        await machine.agent.start()
        assert machine.usable == ["s", "t"]
        assert machine.connect(TARGET).device(1)
        assert machine.engine._stores.retries.seconds is None

    on_machine(tmp_path, steps)


@pytest.mark.parametrize("is_pulled", [True, False])
def test_a_drive_that_changes_during_a_start_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_pulled: bool
) -> None:
    async def steps(machine: Machine) -> None:
        await machine.agent.volumes.ensure("v", SPAN)
        drive = machine.drives[1]
        drive.is_there = is_pulled
        restore = Fronts.restore

        async def changed(fronts: Fronts) -> None:
            drive.is_there = not is_pulled
            await restore(fronts)

        with monkeypatch.context() as patch:
            patch.setattr(Fronts, "restore", changed)
            await machine.reboot()
        async with asyncio.timeout(30):
            await machine.engine.lost()
        await machine.agent.start()
        assert machine.usable == (["s"] if is_pulled else ["s", "t"])

    on_machine(tmp_path, steps)


def failing(run: Callable[..., str], verb: str) -> Callable[..., str]:
    """Return the commands of LVM, of which one fails."""

    def fail(lvm: FakeLvm, which: str, *words: str, seconds: float) -> str:
        if which == verb:
            raise Refused(5, "Device or resource busy")
        return run(lvm, which, *words, seconds=seconds)

    return fail
