"""The shortest form: one machine is node and host. A volume keeps what its host wrote, through an
expansion and a power failure.
"""

import pytest

from inventory.nodes.client import NodeTransport
from provisioner.certificates import Authority
from tests.lab.conftest import MakeMachine
from tests.lab.host import LabHost
from tests.lab.node import LabNode
from tests.nodes.specs import GIB, HOST, TARGET, namespace, piece, volume

pytestmark = pytest.mark.timeout(1800)

WRITTEN = 8


def test_a_volume_keeps_what_its_host_wrote(
    make_machine: MakeMachine, authority: Authority, lab_transport: NodeTransport
) -> None:
    machine = make_machine([(4 * GIB, 4096)])
    machine.await_up()
    node = LabNode(machine, 1, authority, lab_transport)
    node.start(new=True)
    host = LabHost(machine, HOST)
    found = node.client.read_node()
    ssd = found.ssds[0].ssd_id
    node.client.ensure_volume("data", volume(piece(ssd)))
    node.client.ensure_namespace(TARGET, "data", namespace())
    host.connect(found.portals[0], TARGET)
    written = host.write(host.disk("data"), mib=WRITTEN)

    node.client.change_volume("data", volume(piece(ssd, 2 * GIB)))
    host.await_size(host.disk("data"), 2 * GIB)
    assert host.checksum(host.disk("data"), mib=WRITTEN) == written

    machine.cut_power()
    machine.await_up()
    node.start()
    host.connect(found.portals[0], TARGET)
    assert host.checksum(host.disk("data"), mib=WRITTEN) == written
