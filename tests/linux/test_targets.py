"""Targets of the engine over the Linux kernel, as hosts see them."""

import asyncio
import errno
from pathlib import Path

import pytest

from inventory.nodes.engines.names import namespace_uuid
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


def test_a_namespace_has_the_uuid_of_its_volume(tmp_path: Path) -> None:
    """A host must find the same disk again after a restart, and must not take two replicas for one.
    The kernel invents another UUID at each start, and has no NGUID for hosts that ask for that.
    """

    async def steps(machine: Machine) -> None:
        await export(machine)
        found = machine.kernel.nvmet.subsystems[TARGET].namespaces[1].attributes
        ids = {found["device_uuid"], found["device_nguid"]}
        assert ids == {namespace_uuid("v")}

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


def test_targets_may_appear_while_a_volume_is_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(machine: Machine) -> None:
        await export(machine)
        await machine.agent.volumes.ensure("other", volume(piece("t", 64 * MIB)))
        write = machine.kernel.write

        async def slow_write(path: str, text: str) -> None:
            if path.endswith("revalidate_size"):
                await machine.agent.targets.ensure(f"{TARGET}-2", "other", namespace())
            await write(path, text)

        monkeypatch.setattr(machine.kernel, "write", slow_write)
        await machine.agent.volumes.change("v", volume(piece("s", 128 * MIB)))
        assert machine.connect(TARGET).device(1).size == 128 * MIB

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


def test_a_kernel_with_debugfs_tells_which_hosts_are_connected(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        machine.kernel.has_debugfs = True
        await export(machine)
        other = namespace(host_nqn=OTHER_HOST)
        await machine.agent.volumes.ensure("other", SPEC)
        await machine.agent.targets.ensure(OTHER_TARGET, "other", other)
        assert await machine.engine.connected_hosts() == {}
        machine.connect(OTHER_TARGET, OTHER_HOST)
        assert await machine.engine.connected_hosts() == {OTHER_TARGET: (OTHER_HOST,)}
        ids = ControllerIds(first=128, last=191)
        await machine.agent.targets.ensure(TARGET, "v", namespace(controllers=ids))
        assert (await machine.engine.controllers())[TARGET] == ids, "no host is connected to it"
        again = namespace(host_nqn=OTHER_HOST, controllers=ids)
        await machine.agent.targets.ensure(OTHER_TARGET, "other", again)
        assert (await machine.engine.controllers())[OTHER_TARGET] != ids

    on_machine(tmp_path, steps)


@pytest.mark.parametrize("error", [errno.ENOENT, errno.EIO])
def test_a_controller_that_ends_while_it_is_read_does_not_hide_the_others(
    tmp_path: Path, error: int
) -> None:
    """The kernel returns ENOENT until the file is open, then EIO."""

    async def steps(machine: Machine) -> None:
        machine.kernel.has_debugfs = True
        await export(machine)
        sessions = [machine.connect(TARGET) for _ in range(2)]

        def on_call(words: tuple[str, ...]) -> None:
            if words[0] == "read" and words[1].endswith("/ctrl1/hostnqn"):
                raise OSError(error, words[1])

        machine.kernel.on_call = on_call
        assert await machine.engine.connected_hosts() == {TARGET: (HOST,)}
        ids = ControllerIds(first=128, last=191)
        await machine.agent.targets.ensure(TARGET, "v", namespace(controllers=ids))
        assert (await machine.engine.controllers())[TARGET] != ids
        sessions[1].subsystem.sessions.pop()
        await machine.agent.targets.ensure(TARGET, "v", namespace(controllers=ids))
        assert (await machine.engine.controllers())[TARGET] == ids, "both have ended"

    on_machine(tmp_path, steps)


def test_a_subsystem_without_a_folder_in_debugfs_counts_as_connected(tmp_path: Path) -> None:
    """The kernel exports a subsystem even if it cannot create the folder."""

    async def steps(machine: Machine) -> None:
        machine.kernel.has_debugfs = True
        await export(machine)
        machine.connect(TARGET)

        def on_call(words: tuple[str, ...]) -> None:
            if words[:2] == ("names", f"/sys/kernel/debug/nvmet/{TARGET}"):
                raise FileNotFoundError(words[1])

        machine.kernel.on_call = on_call
        assert await machine.engine.connected_hosts() == {TARGET: (HOST,)}

    on_machine(tmp_path, steps)


@pytest.mark.parametrize("has_debugfs", [False, True])
def test_a_target_that_goes_while_targets_are_listed_is_left_out(
    tmp_path: Path, *, has_debugfs: bool
) -> None:
    async def steps(machine: Machine) -> None:
        machine.kernel.has_debugfs = has_debugfs
        await export(machine)
        await machine.agent.volumes.ensure("other", SPEC)
        await machine.agent.targets.ensure(OTHER_TARGET, "other", namespace())
        for nqn in (TARGET, OTHER_TARGET):
            machine.connect(nqn)
        kept = machine.kernel.nvmet.subsystems[OTHER_TARGET]
        for read in (machine.engine.connected_hosts, machine.engine.controllers):

            def on_call(words: tuple[str, ...]) -> None:
                if TARGET in words[1] and not words[1].endswith("/attr_serial"):
                    machine.kernel.nvmet.subsystems.pop(TARGET, None)

            gone = machine.kernel.nvmet.subsystems[TARGET]
            machine.kernel.on_call = on_call
            assert list(await read()) == [OTHER_TARGET]
            machine.kernel.nvmet.subsystems = {TARGET: gone, OTHER_TARGET: kept}
            machine.kernel.on_call = lambda words: None

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
