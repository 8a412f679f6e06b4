"""The shortest form: one machine is node and host. A volume keeps what its host wrote, through an
expansion and a power failure.
"""

import pytest

from inventory.nodes.client import NodeTransport
from provisioner.certificates import Authority
from tests.lab.agents import Agents
from tests.lab.conftest import MakeMachine
from tests.lab.host import LabHost
from tests.nodes.specs import GIB, HOST, TARGET, namespace, piece, volume

pytestmark = pytest.mark.timeout(1800)

WRITTEN = 8


def test_a_volume_keeps_what_its_host_wrote(
    make_machine: MakeMachine, authority: Authority, lab_transport: NodeTransport
) -> None:
    machine = make_machine([(4 * GIB, 4096)])
    machine.await_up()
    agents = Agents(machine, authority, lab_transport, [machine.drives])
    agents.format()
    [client], host = agents.clients, LabHost(machine, HOST)
    node = client.read_node()
    ssd, portal = node.ssds[0].ssd_id, node.portals[0]
    client.ensure_volume("data", volume(piece(ssd)))
    client.ensure_namespace(TARGET, "data", namespace())
    host.connect(portal, TARGET)
    written = host.write(host.disk("data"), mib=WRITTEN)

    client.change_volume("data", volume(piece(ssd, 2 * GIB)))
    host.await_size(host.disk("data"), 2 * GIB)
    assert host.checksum(host.disk("data"), mib=WRITTEN) == written

    machine.cut_power()
    agents.close()
    machine.await_up()
    agents = Agents(machine, authority, lab_transport, [machine.drives])
    agents.start(0)
    host.connect(portal, TARGET)
    assert host.checksum(host.disk("data"), mib=WRITTEN) == written
    agents.close()
