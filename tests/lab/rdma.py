"""A node with a portal over TCP and one over RDMA, in one machine with its host. Soft RoCE
(``rdma_rxe``) stands for the network card.
"""

from functools import partial

import pytest

from inventory.nodes.client import NodeClient, NodeRefused, NodeTransport
from inventory.nodes.portal_transports import RDMA, TCP
from inventory.nodes.target_ids import ControllerIds
from inventory.nodes.wire import Portal, RefusalCode, Target
from provisioner.certificates import Authority
from tests.lab.agents import LOOK_SECONDS, Agents
from tests.lab.conftest import MakeMachine
from tests.lab.host import LabHost
from tests.lab.machine import Failed, Machine
from tests.nodes.specs import GIB, HOST, TARGET, namespace, piece, volume
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(1800)

WRITTEN = 8
IDS = ControllerIds(first=128, last=191)
TRANSPORTS = ("tcp", "rdma")
BACK_SECONDS = 120.0
"""The agent tries a portal again every ten seconds."""


def add_card(machine: Machine) -> None:
    """Give the machine an RDMA device, until it loses its power."""
    machine.shell("modprobe rdma_rxe; rdma link add rxe0 type rxe netdev eth1")


def target_of(client: NodeClient) -> Target:
    target = client.read_target(TARGET)
    assert target
    return target


def can_connect(host: LabHost, portal: Portal) -> bool:
    try:
        host.connect(portal, TARGET)
    except Failed:
        return False
    return True


def test_a_host_uses_its_volume_over_rdma(
    make_machine: MakeMachine, authority: Authority, lab_transport: NodeTransport
) -> None:
    machine = make_machine([(4 * GIB, 4096)])
    machine.await_up()
    add_card(machine)
    agents = Agents(machine, authority, lab_transport, [machine.drives], transports=TRANSPORTS)
    agents.format()
    [client], host = agents.clients, LabHost(machine, HOST)
    node = client.read_node()
    ssd, (tcp, rdma) = node.ssds[0].ssd_id, node.portals
    assert (tcp.transport, rdma.transport) == (TCP, RDMA)
    client.ensure_volume("data", volume(piece(ssd)))
    client.ensure_namespace(TARGET, "data", namespace())
    assert target_of(client).connected_hosts == ()
    host.connect(rdma, TARGET)
    written = host.write(host.disk("data"), mib=WRITTEN)
    client.change_volume("data", volume(piece(ssd, 2 * GIB)))
    host.await_size(host.disk("data"), 2 * GIB)

    assert target_of(client).connected_hosts == (HOST,)
    client.ensure_namespace(TARGET, "data", namespace(controllers=IDS))
    assert target_of(client).controllers != IDS, "the ids change under a connected host"
    with pytest.raises(NodeRefused) as refusal:
        client.remove_volume("data", 1)
    assert refusal.value.code is RefusalCode.IN_USE
    host.disconnect()
    eventually(
        lambda: target_of(client).connected_hosts == (),
        seconds=BACK_SECONDS,
        what=lambda: machine.shell("rdma resource show cm_id"),
        pause=LOOK_SECONDS,
    )
    client.ensure_namespace(TARGET, "data", namespace(controllers=IDS))
    assert target_of(client).controllers == IDS

    machine.cut_power()
    agents.close()
    machine.await_up()
    agents = Agents(machine, authority, lab_transport, [machine.drives], transports=TRANSPORTS)
    agents.start(0)
    host.connect(tcp, TARGET)
    assert host.checksum(host.disk("data"), mib=WRITTEN) == written, "TCP works without the card"
    host.disconnect()
    assert not can_connect(host, rdma)
    add_card(machine)
    eventually(
        partial(can_connect, host, rdma),
        seconds=BACK_SECONDS,
        what="the portal over RDMA is back",
        pause=LOOK_SECONDS,
    )
    assert host.checksum(host.disk("data"), mib=WRITTEN) == written
    host.disconnect()
    client.remove_namespace(TARGET, "data", 1)
    client.remove_volume("data", 1)
    assert client.list_targets() == ()
    agents.close()
