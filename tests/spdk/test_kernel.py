"""A Linux host and SPDK targets: what the host refuses, and how the engine avoids it."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from inventory.nodes.engines.base import NOTICE_SECONDS
from inventory.nodes.target_ids import ControllerIds
from tests.nodes.specs import HOST, MIB, TARGET, namespace, piece, volume
from tests.servers import free_port
from tests.spdk.client import Client
from tests.spdk.host import Host, NoAccess
from tests.spdk.kernel import Hangs, Kernel, KernelRefuses
from tests.spdk.machine import Machine, Run
from tests.spdk.running import RunningTarget

WAIT_SECONDS = 20.0
SIZE = 64 * MIB


@pytest.fixture
def calls() -> Iterator[list[Client]]:
    """Start two targets, and return a function that calls them."""
    targets = [RunningTarget(), RunningTarget()]
    clients = [Client(target.socket) for target in targets]
    for client in clients:
        for name in ("a", "b"):
            client("bdev_malloc_create", name=name, num_blocks=1024, block_size=4096)
    yield clients
    for client in clients:
        client.close()
    for target in targets:
        target.close()


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    kernel = Kernel(HOST)
    yield kernel
    kernel.close()


def opened(call: Client, *, nsid: int, uuid: str = "", first: int = 1) -> int:
    """Return the port of a target on a separate machine, with one namespace."""
    port = free_port()
    address = {"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": str(port)}
    call("nvmf_create_transport", trtype="TCP")
    call("nvmf_create_subsystem", nqn=TARGET, min_cntlid=first, max_cntlid=first + 63)
    call("nvmf_subsystem_add_host", nqn=TARGET, host=HOST)
    call("nvmf_subsystem_add_listener", nqn=TARGET, listen_address=address)
    options = {"bdev_name": "a", "nsid": nsid} | ({"uuid": uuid} if uuid else {})
    call("nvmf_subsystem_add_ns", nqn=TARGET, namespace=options)
    return port


UUID = "33333333-3333-4333-8333-333333333333"


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"nsid": 2}, "Duplicate cntlid 1, subsys"),
        ({"nsid": 1, "first": 64}, "IDs don't match for shared namespace 1"),
        ({"nsid": 2, "first": 64, "uuid": UUID}, "duplicate IDs in subsystem for nsid 2"),
        ({"nsid": 2, "first": 64}, ""),
    ],
)
def test_the_kernel_refuses_contradicting_targets_on_two_nodes(
    calls: list[Client], kernel: Kernel, second: dict[str, Any], words: str
) -> None:
    kernel.reach("127.0.0.1", opened(calls[0], nsid=1, uuid=UUID), TARGET)
    port = opened(calls[1], **second)
    if words:
        with pytest.raises(KernelRefuses, match=words):
            kernel.reach("127.0.0.1", port, TARGET)
    else:
        assert kernel.reach("127.0.0.1", port, TARGET).cntlid == 64


def test_the_kernel_refuses_a_namespace_id_that_changed_its_volume(
    calls: list[Client], kernel: Kernel
) -> None:
    call = calls[0]
    port = opened(call, nsid=1)
    kernel.reach("127.0.0.1", port, TARGET)
    call("nvmf_subsystem_remove_ns", nqn=TARGET, nsid=1)
    call("nvmf_subsystem_add_ns", nqn=TARGET, namespace={"bdev_name": "b", "nsid": 1})
    with pytest.raises(KernelRefuses, match="identifiers changed for nsid 1"):
        kernel.reach("127.0.0.1", port, TARGET)


def test_the_kernel_hangs_when_a_subsystem_is_deleted_without_notice(
    calls: list[Client], kernel: Kernel
) -> None:
    port = opened(calls[0], nsid=1)
    kernel.reach("127.0.0.1", port, TARGET)
    calls[0]("nvmf_delete_subsystem", nqn=TARGET)
    with pytest.raises(Hangs):
        kernel.reach("127.0.0.1", port, TARGET)


def test_controller_ids_come_from_the_range_of_the_subsystem(call: Client) -> None:
    call("bdev_malloc_create", name="a", num_blocks=1024, block_size=4096)
    port = opened(call, nsid=1, first=64)
    hosts = [Host("127.0.0.1", port, TARGET, HOST) for _ in range(64)]
    assert [host.cntlid for host in hosts] == list(range(64, 128))
    with pytest.raises(NoAccess):
        Host("127.0.0.1", port, TARGET, HOST)
    hosts[5].close()
    for host in hosts:
        host.close()
    for first, last in ((0, 5), (9, 8), (1, 65_520)):
        call.fails(
            -32603, "nvmf_create_subsystem", nqn=f"{TARGET}2", min_cntlid=first, max_cntlid=last
        )


async def made(machine: Machine, *uuids: str) -> None:
    await machine.boot()
    for nsid, uuid in enumerate(uuids, 1):
        await machine.agent.volumes.ensure(uuid, volume(piece("s", SIZE)))
        await machine.agent.targets.ensure(TARGET, uuid, namespace(nsid))


async def gone(machine: Machine) -> float:
    """Return the seconds until the target had no subsystem."""
    began = time.monotonic()
    while await machine.engine.target_names():
        assert time.monotonic() < began + WAIT_SECONDS
        await asyncio.sleep(0.02)
    return time.monotonic() - began


def test_the_last_unpublish_does_not_hang_the_host(run: Run, kernel: Kernel) -> None:
    async def steps(machine: Machine) -> None:
        await made(machine, "v")
        where = (machine.portal.ip, machine.portal.port, TARGET)
        await asyncio.to_thread(kernel.reach, *where)
        await machine.agent.targets.remove(TARGET, "v", 1)
        await machine.agent.volumes.remove("v", 1)
        assert await gone(machine) > NOTICE_SECONDS / 2
        assert kernel.known(*where) == []
        await machine.agent.volumes.ensure("w", volume(piece("s", SIZE)))
        await machine.agent.targets.ensure(TARGET, "w", namespace(2))
        assert sorted((await asyncio.to_thread(kernel.reach, *where)).namespaces) == [2]

    run(steps)


def test_a_restarted_agent_removes_empty_targets(run: Run, kernel: Kernel) -> None:
    async def steps(machine: Machine) -> None:
        await made(machine, "v")
        where = (machine.portal.ip, machine.portal.port, TARGET)
        await asyncio.to_thread(kernel.reach, *where)
        machine.rpc.dies_before("nvmf_delete_subsystem")
        await machine.agent.targets.remove(TARGET, "v", 1)
        await machine.boot()
        assert await machine.engine.target_names() == (TARGET,)
        assert (await machine.agent.drift()).strays == ()
        await gone(machine)
        assert kernel.known(*where) == []

    run(steps)


def test_an_old_target_gets_controller_ids_when_no_host_is_connected(run: Run) -> None:
    ids = ControllerIds(first=640, last=703)

    async def steps(machine: Machine) -> None:
        await made(machine, "v", "w")
        numbered = namespace(1, controllers=ids)
        host = await asyncio.to_thread(Host, machine.portal.ip, machine.portal.port, TARGET, HOST)
        assert host.cntlid == 1
        await machine.agent.targets.ensure(TARGET, "v", numbered)
        assert await asyncio.to_thread(host.read, 1, 0, 4096) == bytes(4096)
        host.close()
        while await machine.engine.connected_hosts():
            await asyncio.sleep(0.01)
        await machine.agent.targets.ensure(TARGET, "v", numbered)
        host = await asyncio.to_thread(Host, machine.portal.ip, machine.portal.port, TARGET, HOST)
        assert (host.cntlid, sorted(host.namespaces)) == (640, [1, 2])
        host.close()

    run(steps)
