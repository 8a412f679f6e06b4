"""Rules of the SPDK engine: reserved space, refusals, shared snapshots, and reports."""

import asyncio

from inventory.nodes.drift import DriftItem, DriftKind
from inventory.nodes.engines.names import namespace_uuid
from inventory.nodes.engines.spdk.names import snapshot_name, volume_name
from inventory.nodes.engines.spdk.reservations import Ledger
from inventory.nodes.engines.spdk.spdk_state import Bdev, Lvol
from inventory.nodes.wire import ProvisioningType, Qos, RefusalCode, SourceKind
from tests.nodes.specs import MIB, TARGET, derived, namespace, piece, snapshot, volume
from tests.spdk.client import Client
from tests.spdk.machine import Disk, Machine, Run, refused
from tests.spdk.running import RunningTarget

SIZE = 64 * MIB
FULL = 900 * MIB
CLUSTER = 4 * MIB
BLOCK = 4096
OLD = b"old!" * (BLOCK // 4)
THIN = ProvisioningType.THIN


def test_a_thick_volume_is_refused_space_that_thin_ones_outgrew(run: Run) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure(
            "thin", volume(piece("s", FULL, CLUSTER), provisioning_type=THIN)
        )
        before = (await machine.facts()).ssds[0]
        assert before.free == before.capacity - CLUSTER
        async with Disk(machine, "thin") as host:
            for at in range(0, 100 * CLUSTER, CLUSTER):
                host.write(1, at, OLD)
        after = (await machine.facts()).ssds[0]
        assert (after.outgrown, after.free) == (99 * CLUSTER, before.free - 99 * CLUSTER)
        much = after.free + CLUSTER
        create = agent.volumes.ensure("v", volume(piece("s", much)))
        await refused(RefusalCode.NO_SPACE, create, str(much))
        await agent.volumes.ensure("v", volume(piece("s", after.free)))
        assert (await machine.facts()).ssds[0].free == 0

    run(steps)


def test_a_thick_volume_with_a_snapshot_keeps_its_reserved_space(run: Run) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("s", SIZE)))
        taken = snapshot(piece("s", SIZE, SIZE), volume_uuid="v", volume_generation=1)
        await agent.snapshots.ensure("taken", taken)
        free = (await machine.facts()).ssds[0].free
        await agent.volumes.ensure("rest", volume(piece("s", free)))
        async with Disk(machine, "v") as host:
            for at in range(0, SIZE, CLUSTER):
                host.write(1, at, OLD)
        ssd = (await machine.facts()).ssds[0]
        assert (ssd.free, ssd.outgrown) == (0, 0)

    run(steps)


def test_sizes_that_spdk_cannot_make_exactly_are_refused(run: Run) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        before = (await machine.facts()).ssds
        odd = volume(piece("s", SIZE + BLOCK))
        parts = ("SSD s", str(CLUSTER), str(SIZE + BLOCK))
        await refused(RefusalCode.INVALID, agent.volumes.ensure("v", odd), *parts)
        small = volume(piece("s", SIZE), block_size=512)
        await refused(RefusalCode.INVALID, agent.volumes.ensure("v", small), "512", "4096")
        assert (await machine.facts()).ssds == before

    run(steps)


def test_clones_of_an_unwritten_volume_share_one_snapshot(run: Run) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("golden", volume(piece("s", SIZE)))
        clone = derived(piece("s", SIZE, 0), kind=SourceKind.CLONE_OF_VOLUME, of="golden")
        for number in range(3):
            await agent.volumes.ensure(f"clone-{number}", clone)
        names = [name for _, name, *_ in (await machine.seen())["lvols"]]
        assert names == ["shared", "v-clone-0", "v-clone-1", "v-clone-2", "v-golden"]
        for number in range(3):
            await agent.volumes.remove(f"clone-{number}", 1)
        assert [name for _, name, *_ in (await machine.seen())["lvols"]] == ["v-golden"]

    run(steps)


def test_clones_can_be_created_and_removed_concurrently(run: Run) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("golden", volume(piece("s", SIZE)))
        clone = derived(piece("s", SIZE, 0), kind=SourceKind.CLONE_OF_VOLUME, of="golden")

        async def live(uuid: str) -> None:
            await agent.volumes.ensure(uuid, clone)
            await agent.volumes.remove(uuid, 1)

        await asyncio.gather(*(live(f"clone-{number}") for number in range(20)))
        assert [name for _, name, *_ in (await machine.seen())["lvols"]] == ["v-golden"]

    run(steps)


def test_a_spanned_volume_is_expanded_only_at_its_end_and_unexported(run: Run) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("s", SIZE), piece("t", SIZE)))
        disk = Disk(machine, "v")
        async with disk as host:
            host.write(1, SIZE, OLD)
            larger = volume(piece("s", SIZE), piece("t", 2 * SIZE))
            code = RefusalCode.CONFLICT
            await refused(code, agent.volumes.change("v", larger), str(3 * SIZE), "exported")
            taken = snapshot(
                piece("s", SIZE, 0), piece("t", SIZE, 0), volume_uuid="v", volume_generation=1
            )
            await refused(code, agent.snapshots.ensure("taken", taken), "one moment")
            assert host.read(1, SIZE, BLOCK) == OLD
        inner = volume(piece("s", 2 * SIZE), piece("t", SIZE))
        await refused(RefusalCode.CONFLICT, agent.volumes.change("v", inner), str(2 * SIZE))
        await agent.volumes.change("v", larger)
        async with disk as host:
            assert host.namespaces[1]["size"] == 3 * SIZE
            assert host.read(1, SIZE, BLOCK) == OLD

    run(steps)


def test_the_engine_never_deletes_an_exported_volume(run: Run) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("s", SIZE)))
        await agent.volumes.ensure("w", volume(piece("s", SIZE), piece("t", SIZE)))
        for uuid in ("v", "w"):
            async with Disk(machine, uuid) as host:
                await refused(RefusalCode.IN_USE, machine.engine.remove_volume(uuid), uuid)
                assert host.read(1, 0, BLOCK) == bytes(BLOCK)

    run(steps)


def test_a_target_opened_to_all_hosts_is_recreated(run: Run, target: RunningTarget) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("s", SIZE)))
        await agent.targets.ensure(TARGET, "v", namespace())
        before = (await machine.seen())["subsystems"]
        call = Client(target.socket)
        call("nvmf_subsystem_allow_any_host", nqn=TARGET, allow_any_host=True)
        call.close()
        await machine.start()
        assert (await machine.seen())["subsystems"] == before

    run(steps)


def test_a_restarted_agent_changes_nothing_for_hosts(run: Run, target: RunningTarget) -> None:
    """It makes no changing call to SPDK."""

    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        limited = volume(piece("s", SIZE), qos=Qos(max_iops=1500))
        await agent.volumes.ensure("v", limited)
        spanned = volume(piece("s", SIZE), piece("t", SIZE), qos=Qos(max_bw=MIB))
        await agent.volumes.ensure("w", spanned)
        clone = derived(piece("s", SIZE, 0), kind=SourceKind.CLONE_OF_VOLUME, of="v")
        await agent.volumes.ensure("clone", clone)
        async with Disk(machine, "v") as one, Disk(machine, "w") as two:
            target.target.calls.clear()
            await machine.boot()
            changes = {name for name in target.target.calls if "_get_" not in name}
            assert changes == {"framework_wait_init", "bdev_wait_for_examine"}
            for host in (one, two):
                assert host.read(1, 0, BLOCK) == bytes(BLOCK)
        names = {name for _, name, *_ in (await machine.seen())["lvols"]}
        assert names == {"shared", "v-clone", "v-v", "v-w"}

    run(steps)


def test_drift_names_unknown_and_lost_objects(run: Run, target: RunningTarget) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        for uuid in ("v", "gone"):
            await agent.volumes.ensure(uuid, volume(piece("s", SIZE)))
        await agent.volumes.ensure("span", volume(piece("s", SIZE), piece("t", SIZE)))
        await agent.targets.ensure(TARGET, "v", namespace())
        assert (await agent.drift()).strays == ()
        call = Client(target.socket)
        call("bdev_lvol_delete", name="ssd-s/v-gone")
        for name in ("a", "b"):
            call("bdev_lvol_create", lvs_name="ssd-s", lvol_name=name, size_in_mib=4)
        call(
            "bdev_raid_create",
            name="r",
            raid_level="concat",
            strip_size_kb=64,
            base_bdevs=["ssd-s/a", "ssd-s/b"],
        )
        call("bdev_raid_delete", name="v-span")
        call("nvmf_create_subsystem", nqn="nqn.2022-08.other:x")
        call.close()
        assert (await agent.drift()).strays == (
            DriftItem(kind=DriftKind.LOST, name="s/v-gone"),
            DriftItem(kind=DriftKind.LOST, name="v-span"),
            DriftItem(kind=DriftKind.LVOL, name="s/a"),
            DriftItem(kind=DriftKind.LVOL, name="s/b"),
            DriftItem(kind=DriftKind.RAID, name="r"),
            DriftItem(kind=DriftKind.SUBSYSTEM, name="nqn.2022-08.other:x"),
        )

    run(steps)


def test_a_lost_piece_is_not_recreated(run: Run, target: RunningTarget) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("s", SIZE)))
        call = Client(target.socket)
        call("bdev_lvol_delete", name="ssd-s/v-v")
        call.close()
        larger = volume(piece("s", 2 * SIZE))
        await refused(RefusalCode.NOT_FOUND, agent.volumes.change("v", larger), "lost")
        assert (await machine.seen())["lvols"] == []

    run(steps)


def test_pieces_of_wrong_sizes_are_not_assembled(run: Run, target: RunningTarget) -> None:
    """The data of later pieces would be at the wrong offset."""

    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("s", SIZE), piece("t", SIZE)))
        target.restart()
        call = Client(target.socket)
        call("bdev_aio_create", name="ssd-s", filename=str(machine.folder / "s"), block_size=4096)
        call("bdev_lvol_resize", name="ssd-s/v-v", size_in_mib=2 * SIZE // MIB)
        call.close()
        await machine.start()
        assert (await machine.seen())["raids"] == []

    run(steps)


def test_names_are_short_and_unique() -> None:
    longest = ["a" * 64, "a" * 63 + "b", "a" * 61, "a" * 62]
    names = [name(uuid) for uuid in longest for name in (volume_name, snapshot_name)]
    names += map(snapshot_name, longest)
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 63
    uuid = "0b0a8c2e-6d4f-4a53-9f0f-3a1d7c1f2b4d"
    assert namespace_uuid(uuid) == uuid
    others = {namespace_uuid(one) for one in (uuid.upper(), uuid.replace("-", ""), "volume-1")}
    assert len(others | {uuid}) == 4


def test_lvols_of_a_family_are_counted_together() -> None:
    def lvol(name: str, owned: int, parent: str | None = None) -> Lvol:
        return Lvol(name, name, "l", owned, False, Bdev(name, (), 0, 1, (0, 0), parent))

    ledger = Ledger(1)
    lvols = [lvol("v", 2, "s"), lvol("s", 10), lvol("clone", 3, "s"), lvol("other", 4)]
    for one in lvols:
        ledger.set_lvol(one.name, one)
    for name, size in {"v": 10, "s": 1, "clone": 2, "to come": 7}.items():
        ledger.set_promise(name, size)
    space = ledger.space(100, 81)
    assert (space.allocated, space.outgrown) == (20, 2 + 4)
    assert (space.free, space.committed) == (74, 26)
    rounded = Ledger(10)
    for name, size in {"a": 1, "b": 11}.items():
        rounded.set_promise(name, size)
    assert (rounded.space(100, 10).free, rounded.space(100, 10).committed) == (88, 30)
