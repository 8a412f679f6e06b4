"""Blocks that hosts discard: no volume shows what SPDK frees without clearing it."""

from contextlib import suppress
from dataclasses import replace

import pytest

from inventory.nodes.engines.spdk.rpc import NotAsAsked, RpcLost
from inventory.nodes.wire import ProvisioningType
from tests.nodes.specs import HOST, MIB, TARGET, namespace, piece, snapshot, volume
from tests.spdk.client import Client
from tests.spdk.host import Host, IoFailed
from tests.spdk.machine import Disk, Machine, Run
from tests.spdk.running import RunningTarget
from tests.spdk.seen import HOST as SEEN_HOST
from tests.spdk.seen import NQN, export

SIZE = 64 * MIB
CLUSTER = 4 * MIB
BLOCK = 4096
OLD, ZEROS = b"old!" * (CLUSTER // 4), bytes(CLUSTER)
THIN, THICK = ProvisioningType.THIN, ProvisioningType.THICK


async def fill(machine: Machine, uuid: str) -> None:
    async with Disk(machine, uuid) as host:
        for at in range(0, SIZE, CLUSTER):
            host.write(1, at, OLD)


async def discard(machine: Machine, uuid: str) -> None:
    async with Disk(machine, uuid) as host:
        with suppress(IoFailed):
            host.discard(1, 0, SIZE)


async def old_clusters(machine: Machine, uuid: str, size: int) -> int:
    """The number of clusters that show data which their owner did not write."""
    async with Disk(machine, uuid) as host:
        return sum(host.read(1, at, CLUSTER) != ZEROS for at in range(0, size, CLUSTER))


@pytest.mark.parametrize("zeroes", [True, False])
@pytest.mark.parametrize("kind", [THIN, THICK])
def test_a_new_volume_shows_no_data_of_a_discarded_one(
    run: Run, kind: ProvisioningType, *, zeroes: bool
) -> None:
    """A thick volume is discarded after a snapshot of it was taken and removed."""

    async def steps(machine: Machine) -> None:
        machine.only_ssd("s", zeroes=zeroes)
        agent = await machine.boot()
        await agent.volumes.ensure("old", volume(piece("s", SIZE), provisioning_type=kind))
        await fill(machine, "old")
        if kind is THICK:
            spec = snapshot(piece("s", SIZE), volume_uuid="old", volume_generation=1)
            await agent.snapshots.ensure("snap", spec)
            await agent.snapshots.remove("snap", 1)
        await discard(machine, "old")
        await agent.volumes.remove("old", 1)
        [ssd] = (await machine.facts()).ssds
        await agent.volumes.ensure("new", volume(piece("s", ssd.free)))
        assert await old_clusters(machine, "new", ssd.free) == 0

    run(steps)


def test_a_thin_volume_shows_no_data_that_another_one_discarded(run: Run) -> None:
    """It allocates a cluster and writes one block of it."""

    async def steps(machine: Machine) -> None:
        machine.only_ssd("s", zeroes=False)
        agent = await machine.boot()
        for uuid in ("mine", "old"):
            thin = volume(piece("s", SIZE), provisioning_type=THIN)
            await agent.volumes.ensure(uuid, thin)
        await fill(machine, "old")
        await discard(machine, "old")
        async with Disk(machine, "mine") as host:
            for at in range(0, SIZE, CLUSTER):
                host.write(1, at, b"mine" * (BLOCK // 4))
                assert not any(host.read(1, at + BLOCK, CLUSTER - BLOCK))

    run(steps)


@pytest.mark.parametrize("zeroes", [True, False])
def test_hosts_can_discard_only_if_every_ssd_is_declared(run: Run, *, zeroes: bool) -> None:
    """Otherwise hosts cannot discard blocks on any SSD of the node."""

    async def steps(machine: Machine) -> None:
        machine.ssds = (
            tuple(replace(one, zeroes_on_unmap=zeroes) for one in machine.ssds[:1])
            + (machine.ssds[1:])
        )
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("t", SIZE), provisioning_type=THIN))
        await fill(machine, "v")
        async with Disk(machine, "v") as host:
            if zeroes:
                host.discard(1, 0, SIZE)
            else:
                with pytest.raises(IoFailed, match="00/01"):
                    host.discard(1, 0, SIZE)
            assert (host.read(1, 0, CLUSTER) == OLD) is not zeroes
            call = Client(machine.socket)
            _, subsystem = call("nvmf_get_subsystems")
            call.close()
            assert (subsystem["dmrsl"] > 0) is zeroes, "Linux offers them by this"
        _, ssd = (await machine.facts()).ssds
        assert ssd.outgrown == 0

    run(steps)


def test_a_target_where_hosts_can_discard_must_be_restarted(
    run: Run, target: RunningTarget
) -> None:
    """An agent opened it when all SSDs were declared."""

    async def steps(machine: Machine) -> None:
        machine.only_ssd("s", zeroes=True)
        await machine.boot()
        machine.only_ssd("s", zeroes=False)
        with pytest.raises(NotAsAsked, match="restart the target"):
            await machine.boot()
        target.restart()
        agent = await machine.boot()
        await agent.volumes.ensure("v", volume(piece("s", SIZE)))

    run(steps)


def test_space_freed_before_discards_were_barred_is_cleared(
    run: Run, target: RunningTarget
) -> None:
    """It was freed on an SSD that was declared at that time, or by an older agent that allowed
    discards.
    """

    async def steps(machine: Machine) -> None:
        machine.only_ssd("s", zeroes=True)
        await machine.boot()
        call = Client(machine.socket)
        call(
            "bdev_lvol_create", lvs_name="ssd-s", lvol_name="x", size_in_mib=64, clear_method="none"
        )
        port = export(call, "ssd-s/x")
        with Host("127.0.0.1", port, NQN, SEEN_HOST) as host:
            for at in range(0, SIZE, CLUSTER):
                host.write(1, at, OLD)
        call("nvmf_delete_subsystem", nqn=NQN)
        call("bdev_lvol_delete", name="ssd-s/x")
        call.close()
        target.restart()
        machine.only_ssd("s", zeroes=False)
        agent = await machine.boot()
        [ssd] = (await machine.facts()).ssds
        assert ssd.free == ssd.capacity
        await agent.volumes.ensure("new", volume(piece("s", ssd.free)))
        assert await old_clusters(machine, "new", ssd.free) == 0
        await agent.volumes.remove("new", 1)
        target.restart()
        await machine.boot()
        assert target.target.calls.count("bdev_lvol_create") == 0, "it is known to be clear"

    run(steps)


@pytest.mark.parametrize("zeroes", [True, False])
def test_a_cluster_copied_for_a_write_during_a_crash_is_never_read(
    run: Run, target: RunningTarget, *, zeroes: bool
) -> None:
    async def steps(machine: Machine) -> None:
        machine.only_ssd("s", zeroes=zeroes)
        agent = await machine.boot()
        await agent.volumes.ensure("old", volume(piece("s", SIZE)))
        await fill(machine, "old")
        spec = snapshot(piece("s", SIZE), volume_uuid="old", volume_generation=1)
        await agent.snapshots.ensure("snap", spec)
        await agent.targets.ensure(TARGET, "old", namespace())
        target.target.die_copying()
        host = Host(machine.portal.ip, machine.portal.port, TARGET, HOST)
        with host, pytest.raises((ConnectionError, IoFailed)):
            host.write(1, 0, b"mine" * (BLOCK // 4))
        target.settle()
        with suppress(RpcLost):
            await machine.boot()
        [ssd] = (await machine.facts()).ssds
        await machine.agent.volumes.ensure("new", volume(piece("s", ssd.free)))
        assert await old_clusters(machine, "new", ssd.free) == 0

    run(steps)
