"""The shortest form: one machine is node and host. A volume keeps what its host wrote, through an
expansion and a power failure.
"""

import pytest

from inventory.nodes.client import NodeTransport
from inventory.nodes.engines.names import namespace_uuid
from provisioner.certificates import Authority
from tests.lab.conftest import MakeMachine
from tests.lab.node import LabNode
from tests.nodes.specs import GIB, HOST, MIB, TARGET, namespace, piece, volume

pytestmark = pytest.mark.timeout(1800)

WRITTEN = 8 * MIB


def test_a_volume_keeps_what_its_host_wrote(
    make_machine: MakeMachine, authority: Authority, lab_transport: NodeTransport
) -> None:
    machine = make_machine([(4 * GIB, 4096)])
    machine.await_up()
    node = LabNode(machine, 1, authority, lab_transport)
    node.start(new=True)
    node_facts = node.client.read_node()
    ssd = node_facts.ssds[0].ssd_id
    node.client.ensure_volume("data", volume(piece(ssd)))
    node.client.ensure_namespace(TARGET, "data", namespace())
    machine.connect(node_facts.portals[0], TARGET, HOST)
    disk = machine.disk(namespace_uuid("data"))
    machine.shell(f"dd if=/dev/urandom of={disk} bs=1M count={WRITTEN // MIB} oflag=direct")
    written = checksum(node, disk, WRITTEN)

    node.client.change_volume("data", volume(piece(ssd, 2 * GIB)))
    machine.shell(f"until [ $(blockdev --getsize64 {disk}) = {2 * GIB} ]; do sleep 0.2; done")
    assert checksum(node, disk, WRITTEN) == written

    node.cut_power()
    node.start()
    machine.connect(node_facts.portals[0], TARGET, HOST)
    disk = machine.disk(namespace_uuid("data"))
    assert checksum(node, disk, WRITTEN) == written


def checksum(node: LabNode, disk: str, length: int) -> str:
    """Of the first bytes of a disk, read past the cache."""
    read = f"dd if={disk} bs=1M count={length // MIB} iflag=direct status=none"
    return node.machine.shell(f"{read} | sha256sum")
