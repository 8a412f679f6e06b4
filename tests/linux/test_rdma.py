"""Portals over RDMA of the engine over the Linux kernel."""

import asyncio
import json
from pathlib import Path

import pytest

from inventory.nodes.engines.linux.connected import established
from inventory.nodes.engines.linux.kernel import CommandFailed, Output
from inventory.nodes.engines.linux.real_kernel import RealKernel
from inventory.nodes.portal_transports import RDMA
from inventory.nodes.target_ids import ControllerIds
from inventory.nodes.wire import Portal
from tests.linux.machine import Machine, export, on_machine
from tests.nodes.specs import HOST, TARGET, namespace

IDS = ControllerIds(first=128, last=191)


def rdma_loaded(machine: Machine) -> bool:
    return "nvmet-rdma" in machine.kernel.modules


def test_hosts_connect_over_tcp_and_over_rdma(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        assert not rdma_loaded(machine)
        portal = machine.add_rdma()
        await machine.boot()
        assert rdma_loaded(machine)
        await export(machine)
        assert (await machine.engine.facts()).portals == (machine.portal, portal)
        assert machine.connect(TARGET).device(1)
        assert machine.connect(TARGET, portal=portal).device(1)

    on_machine(tmp_path, steps)


def test_a_host_that_is_connected_over_rdma_is_shown(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        portal = machine.add_rdma()
        await machine.boot()
        await export(machine)
        assert await machine.engine.connected_hosts() == {}
        session = machine.connect(TARGET, portal=portal)
        assert await machine.engine.connected_hosts() == {TARGET: (HOST,)}
        session.subsystem.sessions.clear()
        assert await machine.engine.connected_hosts() == {}

    on_machine(tmp_path, steps)


def test_controllers_keep_their_ids_while_a_host_is_connected_over_rdma(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        portal = machine.add_rdma()
        await machine.boot()
        await export(machine)
        session = machine.connect(TARGET, portal=portal)
        numbered = namespace(1, controllers=IDS)
        await machine.agent.targets.ensure(TARGET, "v", numbered)
        assert (await machine.engine.controllers())[TARGET] != IDS
        session.subsystem.sessions.clear()
        await machine.agent.targets.ensure(TARGET, "v", numbered)
        assert (await machine.engine.controllers())[TARGET] == IDS

    on_machine(tmp_path, steps)


def test_tcp_works_while_the_rdma_device_is_missing(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        await export(machine)
        portal = machine.add_rdma(is_there=False)
        await machine.reboot()
        assert await machine.agent.repair() is False
        assert machine.connect(TARGET).device(1)
        with pytest.raises(OSError, match="refused"):
            machine.connect(TARGET, portal=portal)
        machine.kernel.rdma_addresses.add(portal.ip)
        assert await machine.agent.repair() is True
        assert machine.connect(TARGET, portal=portal).device(1)

    on_machine(tmp_path, steps)


def test_a_node_that_cannot_read_its_rdma_connections_does_not_guess(tmp_path: Path) -> None:
    async def steps(machine: Machine) -> None:
        machine.add_rdma()
        await machine.boot()
        await export(machine)
        machine.kernel.is_rdma_readable = False
        with pytest.raises(CommandFailed, match="NETLINK_RDMA"):
            await machine.engine.connected_hosts()

    on_machine(tmp_path, steps)


class Shows(RealKernel):
    """A kernel without TCP connections, whose command ``rdma`` shows this."""

    def __init__(self, shown: str) -> None:
        self._shown = shown

    async def read(self, path: str) -> str:
        return "  sl  local_address"

    async def run(self, *command: str, text: str = "", seconds: float = 0) -> Output:
        return Output(0, self._shown, "")


@pytest.mark.parametrize(
    ("shown", "is_so"),
    [
        ("", False),
        ("[]", False),
        ([{"state": "IDLE", "ps": "TCP"}], False),
        ([{"state": "LISTEN", "src-addr": "fd00::1:4420"}], False),
        ([{"state": "CONNECT", "src-addr": "fd00::1:4420", "dst-addr": "fd00::2:50000"}], True),
        ([{"state": "CONNECT", "src-addr": "fd00::1:4421", "dst-addr": "fd00::2:50000"}], False),
        ([{"state": "CONNECT", "src-addr": "fd00::2:50000", "dst-addr": "fd00::1:4420"}], False),
    ],
)
def test_only_connections_to_the_portal_count(shown: object, is_so: bool) -> None:
    kernel = Shows(shown if isinstance(shown, str) else json.dumps(shown))
    portal = Portal(ip="fd00::1", port=4420, transport=RDMA)
    assert asyncio.run(established(kernel, [portal])) is is_so
