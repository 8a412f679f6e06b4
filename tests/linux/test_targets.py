"""Targets of the engine over the Linux kernel, as hosts see them."""

import asyncio
from pathlib import Path

import pytest

from inventory.nodes.target_ids import ControllerIds
from inventory.nodes.wire import RefusalCode
from tests.linux.machine import Machine, await_notice, export, on_machine, refused
from tests.nodes.specs import HOST, MIB, OTHER_HOST, OTHER_TARGET, TARGET, namespace, piece, volume

SPEC = volume(piece("s", 64 * MIB))


def test_only_the_host_of_a_target_may_connect(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await export(machine)
        assert machine.connect(TARGET).device(1)
        with pytest.raises(OSError, match=OTHER_HOST):
            machine.connect(TARGET, OTHER_HOST)
        with pytest.raises(OSError, match=OTHER_TARGET):
            machine.connect(OTHER_TARGET)

    on_machine(tmp_path, steps)


def test_a_host_that_loses_access_is_disconnected(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await export(machine)
        session = machine.connect(TARGET)
        later = namespace(1, generation=2, host_nqn=OTHER_HOST)
        await machine.agent.targets.ensure(TARGET, "v", later)
        assert not session.is_open
        with pytest.raises(OSError, match=HOST):
            machine.connect(TARGET)
        assert machine.connect(TARGET, OTHER_HOST).device(1)
        assert machine.kernel.nvmet.hosts == {OTHER_HOST}, "nothing is left of the first"

    on_machine(tmp_path, steps)


def test_a_host_sees_namespaces_go_before_its_target_goes(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await export(machine)
        session = machine.connect(TARGET)
        await machine.agent.targets.remove(TARGET, "v", 1)
        assert session.is_open
        assert session.device(1) is None
        await await_notice()
        assert not session.is_open
        assert machine.kernel.nvmet.subsystems == {}
        assert machine.kernel.nvmet.hosts == set()

    on_machine(tmp_path, steps)


def test_everything_is_exported_when_the_node_is_up_after_a_restart(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        ids = ControllerIds(first=128, last=191)
        await machine.agent.volumes.ensure("v", SPEC)
        await machine.agent.targets.ensure(TARGET, "v", namespace(3, controllers=ids))
        async with machine.disk("v") as disk:  # the kernel allows a second target
            disk.write(0, b"kept" * 1024)
        machine.kernel.reboot()
        with pytest.raises(OSError, match="refused"):
            machine.connect(TARGET)
        await machine.boot()
        session = machine.connect(TARGET)
        assert session.number == 128
        assert session.device(3).read(0, 4096) == b"kept" * 1024
        [found] = machine.kernel.nvmet.subsystems.values()
        assert found.namespaces[3].attributes["device_uuid"] != "0"

    on_machine(tmp_path, steps)


def test_targets_of_one_host_can_be_made_and_removed_at_once(tmp_path: Path) -> None:
    names = [f"{TARGET}-{number}" for number in range(4)]

    async def steps(machine: Machine) -> None:
        for nqn in names:
            await machine.agent.volumes.ensure(nqn[-3:], SPEC)
        targets = machine.agent.targets
        await asyncio.gather(*(targets.ensure(nqn, nqn[-3:], namespace()) for nqn in names))
        assert all(machine.connect(nqn).device(1) for nqn in names)
        await machine.reboot()
        assert all(machine.connect(nqn).device(1) for nqn in names)
        await asyncio.gather(*(machine.engine.remove_target(nqn) for nqn in names))
        assert machine.kernel.nvmet.hosts == set()

    on_machine(tmp_path, steps)


def test_a_portal_that_is_not_there_yet_is_tried_again(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await export(machine)
        machine.kernel.addresses.clear()
        await machine.reboot()
        assert await machine.agent.repair() is False
        machine.kernel.addresses.add(machine.portal.ip)
        assert await machine.agent.repair() is True
        assert machine.connect(TARGET).device(1)

    on_machine(tmp_path, steps)


def test_controllers_keep_their_ids_while_a_host_is_connected(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await export(machine)
        session = machine.connect(TARGET)
        ids = ControllerIds(first=128, last=191)
        numbered = namespace(1, controllers=ids)
        await machine.agent.targets.ensure(TARGET, "v", numbered)
        assert (await machine.engine.controllers())[TARGET] != ids
        session.subsystem.sessions.clear()
        await machine.agent.targets.ensure(TARGET, "v", numbered)
        assert (await machine.engine.controllers())[TARGET] == ids

    on_machine(tmp_path, steps)


def test_targets_of_other_programs_are_left_alone(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        machine.kernel.nvmet.make(["subsystems", OTHER_TARGET])
        await export(machine)
        await machine.boot()
        assert set(machine.kernel.nvmet.subsystems) == {TARGET, OTHER_TARGET}
        assert await machine.drift() == []
        add = machine.agent.targets.ensure(OTHER_TARGET, "v", namespace())
        await refused(RefusalCode.IN_USE, add, "another program", OTHER_TARGET)

    on_machine(tmp_path, steps)


def test_an_own_target_that_nobody_knows_is_removed_at_the_next_start(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await export(machine)
        await machine.agent.targets.remove(TARGET, "v", 1)
        await machine.boot()  # before the target was removed
        await await_notice()
        assert machine.kernel.nvmet.subsystems == {}

    on_machine(tmp_path, steps)


def test_names_that_are_no_file_names_are_refused(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await machine.agent.volumes.ensure("v", SPEC)
        for nqn, host in (("nqn.a/../b", HOST), (TARGET, "nqn/x"), ("..", HOST)):
            add = machine.agent.targets.ensure(nqn, "v", namespace(host_nqn=host))
            await refused(RefusalCode.INVALID, add, "is not a valid NQN")
        add = machine.agent.targets.ensure(TARGET, "v", namespace(1025))
        await refused(RefusalCode.INVALID, add, "the highest id is 1024")

    on_machine(tmp_path, steps)


def test_a_volume_in_use_is_not_removed_behind_the_records(tmp_path: Path) -> None:
    """The kernel refuses the removal, whatever the agent knows."""

    async def steps(machine: Machine) -> None:
        await export(machine)
        await refused(RefusalCode.IN_USE, machine.engine.remove_volume("v"), "in use")
        assert machine.connect(TARGET).device(1)

    on_machine(tmp_path, steps)
