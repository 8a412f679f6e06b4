"""A storage node in a machine of the lab: the agent of this checkout, with the engine ``linux``."""

import time
from collections.abc import Sequence
from contextlib import suppress

from inventory.nodes.agent.agent import Identity
from inventory.nodes.client import NodeRefused, NodeTransport, NodeUnreachable
from provisioner.certificates import Authority
from tests.lab.machine import CHECKOUT, SITE_PACKAGES, Machine
from tests.spdk.nodes import NodeCalls

FOLDER = "/srv/node"
PID = "/run/node_agent.pid"
LOG = "/var/log/node_agent.log"
NVME_PORT = 4420
UP_SECONDS = 900.0
PYTHON = (
    f"exec env PYTHONPATH={SITE_PACKAGES} PYTHONDONTWRITEBYTECODE=1 SECRET_KEY={'x' * 32}"
    " DATA_DIR=/tmp DATABASE_URL=sqlite://:memory: REDIS_URL=memory:// python3"
)

CONFIG = """
engine = "linux"
persistent_id = "02:00:00:00:02:{number:02x}"
name = "{machine.name}"
address = "10.0.2.15"
port = {port}
certificate = "{folder}/node.pem"
key = "{folder}/node.key"
client_ca = "{folder}/ca.pem"
state_folder = "{folder}/state"
total_bandwidth = 4_000_000_000
total_iops = 300_000
portals = [{portals}]
"""
PORTAL = '{{ ip = "{machine.address}", port = {nvme_port}, transport = "{transport}" }}'
SSD = """
[[ssds]]
id = "{serial}"
device = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_{serial}"
"""


def write_config(
    machine: Machine,
    number: int,
    authority: Authority,
    *,
    drives: Sequence[str],
    port: int,
    transports: Sequence[str] = ("tcp",),
) -> str:
    """Write the files of a node into the machine; return the path of its configuration.

    ``drives``: serial numbers of the machine's drives that the node gets. ``port``: of the agent;
    hosts connect to NVME_PORT plus ``number``, over each of the ``transports``.
    """
    folder = f"{FOLDER}/{number}"
    certificate, key = authority.node(f"lab-{machine.name}-{number}", ["127.0.0.1"])
    portals = ", ".join(
        PORTAL.format(machine=machine, nvme_port=NVME_PORT + number, transport=one)
        for one in transports
    )
    text = CONFIG.format(machine=machine, number=number, port=port, folder=folder, portals=portals)
    text += "".join(SSD.format(serial=serial) for serial in drives)
    machine.put(f"{folder}/node.toml", text)
    for name, path in (("ca.pem", authority.path), ("node.pem", certificate), ("node.key", key)):
        machine.put(f"{folder}/{name}", path.read_text())
    return f"{folder}/node.toml"


class LabNode(NodeCalls):
    """``manage.py node_agent`` as the only node of a machine. ``client`` calls it from this
    computer.
    """

    def __init__(
        self, machine: Machine, number: int, authority: Authority, transport: NodeTransport
    ) -> None:
        self.machine = machine
        self._drives = machine.drives
        port = machine.agent_ports[0]
        self._config = write_config(
            machine, number, authority, drives=machine.drives, port=port.inside
        )
        identity = Identity(
            f"02:00:00:00:02:{number:02x}", machine.name, ("127.0.0.1",), port.outside
        )
        super().__init__(identity, transport)

    def start(self) -> None:
        """Start the agent, and wait until it is up."""
        self.begin()
        self.await_up()

    def begin(self, *, new: bool = False) -> None:
        """Start the agent. ``new``: its drives may be overwritten."""
        options = " ".join(f"--format {one}" for one in self._drives) if new else ""
        command = f"{PYTHON} manage.py node_agent --config {self._config} {options}"
        self.machine.spawn(f"echo $$ >{PID}; cd {CHECKOUT}; {command}", LOG)

    def await_up(self, *, other_than: str = "") -> str:
        """As elsewhere, with time for an emulated processor.

        :raises AssertionError: the agent ended, or does not come up.
        """
        deadline = time.monotonic() + UP_SECONDS
        while time.monotonic() < deadline:
            with suppress(NodeRefused, NodeUnreachable):
                found = self.client.read_node().boot_id
                if found != other_than:
                    return found
            self.machine.shell(f"kill -0 $(cat {PID}) || {{ tail -n 20 {LOG}; exit 1; }}")
            time.sleep(1)
        raise AssertionError(f"no answer: {self.machine.shell(f'tail -n 20 {LOG}')}")
