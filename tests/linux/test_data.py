"""The data that hosts read and write through the engine over the Linux kernel."""

from pathlib import Path

import pytest

from inventory.nodes.wire import ProvisioningType, SourceKind
from tests.linux.kernel import FakeKernel
from tests.linux.machine import Machine, on_machine, two
from tests.nodes.specs import MIB, derived, piece, snapshot, volume

SECRET = b"secret" * 1000
BLOCK = 4096


def test_a_new_volume_never_shows_a_removed_one(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        spec = volume(piece("s", 64 * MIB))
        await machine.agent.volumes.ensure("old", spec)
        async with machine.disk("old") as disk:
            disk.write(0, SECRET * 40)
        await machine.agent.volumes.remove("old", 1)
        await machine.agent.volumes.ensure("new", spec)
        async with machine.disk("new") as disk:
            disk.write(BLOCK, b"x" * BLOCK)
            assert disk.read(0, MIB).replace(b"x", b"\0") == bytes(MIB)

    on_machine(tmp_path, steps)


def test_a_spanned_volume_is_one_disk_over_its_pieces(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await machine.agent.volumes.ensure("v", volume(*two(64, 32)))
        async with machine.disk("v") as disk:
            assert disk.size == 96 * MIB
            disk.write(64 * MIB - 3000, SECRET)
        await machine.reboot()
        async with machine.disk("v") as disk:
            assert disk.read(64 * MIB - 3000, 6000) == SECRET

    on_machine(tmp_path, steps)


@pytest.mark.parametrize("kind", [SourceKind.CLONE_OF_SNAPSHOT, SourceKind.CLONE_OF_VOLUME])
def test_a_clone_of_a_spanned_volume_in_use_is_of_one_moment(
    tmp_path: Path, kind: SourceKind
) -> None:
    """No write may come between the snapshots of the pieces."""

    async def steps(machine: Machine) -> None:
        await machine.agent.volumes.ensure("v", volume(*two(64, 32), generation=7))
        taken = snapshot(*two(64, 32), volume_uuid="v")
        frozen: list[bool] = []

        def on_call(words: tuple[str, ...]) -> None:
            if "--snapshot" in words and words[-1].endswith("/v-v"):
                fronts = [one for name, one in kernel.mapper.devices.items() if "+" in name]
                frozen.append(all(front.is_suspended for front in fronts))

        kernel: FakeKernel = machine.kernel
        async with machine.disk("v") as disk:
            disk.write(63 * MIB, SECRET)
            kernel.on_call = on_call
            of, generation = "v", 7
            if kind is SourceKind.CLONE_OF_SNAPSHOT:
                await machine.agent.snapshots.ensure("taken", taken)
                of, generation = "taken", 1
            clone = derived(*two(64, 32), kind=kind, of=of, generation_of=generation)
            await machine.agent.volumes.ensure("clone", clone)
            disk.write(63 * MIB, b"later" * 1200)
        assert frozen == [True, True]
        async with machine.disk("clone") as disk:
            assert disk.read(63 * MIB, 6000) == SECRET

    on_machine(tmp_path, steps)


def test_a_read_only_snapshot_volume_cannot_be_written(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await machine.agent.volumes.ensure("v", volume(piece("s", 64 * MIB), generation=7))
        async with machine.disk("v") as disk:
            disk.write(0, SECRET)
        whole = piece("s", 64 * MIB, 0)
        await machine.agent.snapshots.ensure("taken", snapshot(whole, volume_uuid="v"))
        spec = derived(whole, kind=SourceKind.READ_ONLY_SNAPSHOT_VOLUME, of="taken")
        await machine.agent.volumes.ensure("shown", spec)
        await machine.reboot()
        async with machine.disk("shown") as disk:
            for change in (lambda: disk.write(0, b"x" * BLOCK), lambda: disk.discard(0, MIB)):
                with pytest.raises(OSError, match="Input/output error"):
                    change()
            assert disk.read(0, 6000) == SECRET

    on_machine(tmp_path, steps)


@pytest.mark.parametrize("is_span", [False, True])
def test_a_host_sees_the_size_of_an_expanded_volume(tmp_path: Path, is_span: bool) -> None:
    async def steps(machine: Machine) -> None:
        before = two(64, 32) if is_span else [piece("s", 64 * MIB)]
        after = [*before[:-1], piece(before[-1].ssd_id, 128 * MIB)]
        await machine.agent.volumes.ensure("v", volume(*before))
        nqn = "nqn.2022-08.com.kioxia:of-v"
        async with machine.disk("v"):
            host = machine.connect(nqn)
            host.device(1).write(32 * MIB, SECRET)
            await machine.agent.volumes.change("v", volume(*after))
            assert host.size(1) == sum(one.capacity for one in after)
            assert host.device(1).read(32 * MIB, 6000) == SECRET

    on_machine(tmp_path, steps)


def test_discarded_chunks_are_free_again(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        spec = volume(piece("s", 64 * MIB, 0), provisioning_type=ProvisioningType.THIN)
        await machine.agent.volumes.ensure("v", spec)
        before = await machine.free()
        async with machine.disk("v") as disk:
            disk.write(0, b"x" * MIB)
            assert await machine.free() == before - MIB
            disk.discard(0, MIB)
            assert await machine.free() == before
            assert disk.read(0, MIB) == bytes(MIB)

    on_machine(tmp_path, steps)
