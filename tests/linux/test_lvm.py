"""The options of the commands of LVM on which the data of hosts depends."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.linux.drives import Group
from tests.linux.lvm import Refused
from tests.linux.machine import Machine, on_machine
from tests.nodes.specs import MIB, piece, snapshot, volume

IN_ALL = {
    "scan_lvs=0": "LVM must not read what hosts write into volumes",
    "monitoring=0": "a monitor would change pools behind the agent",
    "backup=0": "/etc may be full or read-only",
    "archive=0": "/etc may be full or read-only",
}


class Option(NamedTuple):
    verb: str
    option: str
    reason: str
    only: str = ""
    """Only commands with this word."""


OPTIONS = (
    Option("vgcreate", "--setautoactivation n", "only the agent may activate, after its checks"),
    Option("vgcreate", "--metadatasize 16777216b", "the default is full with 1,500 volumes"),
    Option("vgchange", "--ignoreactivationskip", "no volume may be left out"),
    Option("lvcreate", "--zero y", "hosts must not see old data", "thin-pool"),
    Option("lvcreate", "--discards passdown", "the SSD needs to know free chunks", "thin-pool"),
    Option("lvcreate", "--poolmetadataspare y", "a repair needs the space", "thin-pool"),
    Option("lvcreate", "--wipesignatures n", "a new volume reads as zeros", "thin"),
    Option("lvcreate", "--setactivationskip n", "LVM does not activate snapshots", "--snapshot"),
    Option("lvcreate", "--activate y", "LVM does not activate snapshots", "--snapshot"),
    Option("lvchange", "--errorwhenfull y", "writes would wait for a minute"),
    Option("lvremove", "--yes", "LVM would ask"),
)


async def live(machine: Machine) -> None:
    """Run every command of LVM that the engine knows."""
    volumes, snapshots = machine.agent.volumes, machine.agent.snapshots
    await volumes.ensure("v", volume(piece("s", 64 * MIB)))
    await volumes.change("v", volume(piece("s", 128 * MIB)))
    await snapshots.ensure(
        "taken", snapshot(piece("s", 128 * MIB, 0), volume_uuid="v", volume_generation=1)
    )
    await snapshots.remove("taken", 1)
    await volumes.remove("v", 1)
    await machine.reboot()


def commands(machine: Machine, verb: str = "") -> list[Sequence[str]]:
    return [words for words in machine.kernel.log if words[0] == "lvm" and verb in words[1]]


def group_of(machine: Machine) -> Group:
    group = machine.drives[0].group
    assert group
    return group


def test_every_command_sees_one_drive_only_and_changes_nothing_else(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await live(machine)
        assert {words[1] for words in commands(machine)} >= {"vgs", "lvs", "vgchange", "lvextend"}
        for words in commands(machine):
            config = words[words.index("--config") + 1]
            seen = [drive for drive in machine.drives if f"a|^{drive.path}$|" in config]
            assert len(seen) == 1, config
            assert '"r|.*|"' in config
            for setting, reason in IN_ALL.items():
                assert setting in config, reason

    on_machine(tmp_path, steps)


@pytest.mark.parametrize("wanted", OPTIONS, ids=lambda one: f"{one.verb} {one.option}")
def test_options_on_which_data_depends(tmp_path: Path, wanted: Option) -> None:
    async def steps(machine: Machine) -> None:
        await live(machine)
        found = [words for words in commands(machine, wanted.verb) if {wanted.only} <= {"", *words}]
        assert found
        for words in found:
            assert f" {wanted.option} " in f"{' '.join(words)} ", wanted.reason

    on_machine(tmp_path, steps)


def test_a_machine_activates_nothing_before_the_agent_does(tmp_path: Path) -> None:
    """Before, the agent checks that the SSD is the one it knows, and keeps udev away from it."""

    async def steps(machine: Machine) -> None:
        await machine.agent.volumes.ensure("v", volume(piece("s", 64 * MIB)))
        machine.kernel.reboot()
        assert machine.kernel.mapper.devices == {}
        await machine.boot()
        async with machine.disk("v") as disk:
            assert disk.read(0, MIB) == bytes(MIB)

    on_machine(tmp_path, steps)


def test_a_pool_leaves_space_for_the_repair_of_its_metadata(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        pool = group_of(machine).pool
        assert pool
        assert pool.has_spare

    on_machine(tmp_path, steps)


def test_the_fake_refuses_options_that_lvm_does_not_have(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        lvm, drive = machine.kernel.lvm, machine.drives[0]
        config = ("--config", f'devices {{ filter=["a|^{drive.path}$|","r|.*|"] }}')
        wrong = (("vgs", "--zero", "y"), ("lvremove", "--force"), ("lvcreate", "--discards", "x"))
        for verb, *words in wrong:
            with pytest.raises(Refused, match=words[0]) as caught:
                lvm.run(verb, *config, *words, seconds=1)
            assert caught.value.code == 3

    on_machine(tmp_path, steps)
