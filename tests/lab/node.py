"""A storage node in a machine of the lab: ``manage.py node_agent`` from this checkout, with the engine ``linux``."""

from pathlib import Path

from inventory.nodes.client import NodeTransport
from tests.lab.machine import AGENT_PORT, CHECKOUT, SITE_PACKAGES, Failed, Machine
from tests.nodes.certificates import KeyPair
from tests.spdk.nodes import NodeCalls

FOLDER = "/srv/node"
PID = "/run/node_agent.pid"
LOG = "/var/log/node_agent.log"
NVME_PORT = 4420

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
portals = [{{ ip = "{machine.address}", port = {nvme_port} }}]
"""
SSD = """
[[ssds]]
id = "{serial}"
device = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_{serial}"
"""


class LabNode(NodeCalls):
    """``client`` calls the agent from this computer.

    ``drives``: serial numbers of the machine's drives that the node has.
    """

    def __init__(
        self,
        machine: Machine,
        number: int,
        drives: list[str],
        *,
        ca: Path,
        pair: KeyPair,
        transport: NodeTransport,
    ) -> None:
        self.machine = machine
        text = CONFIG.format(
            number=number, machine=machine, port=AGENT_PORT, folder=FOLDER, nvme_port=NVME_PORT
        )
        text += "".join(SSD.format(serial=serial) for serial in drives)
        machine.put(f"{FOLDER}/node.toml", text)
        machine.put(f"{FOLDER}/ca.pem", ca.read_text())
        machine.put(f"{FOLDER}/node.pem", pair.certificate.read_text())
        machine.put(f"{FOLDER}/node.key", pair.key.read_text())
        super().__init__("127.0.0.1", machine.agent_port, transport)

    def start(self) -> None:
        """Start the agent, and wait until it is up."""
        self.machine.spawn(
            f"echo $$ >{PID}; cd {CHECKOUT} && PYTHONPATH={SITE_PACKAGES} PYTHONDONTWRITEBYTECODE=1 "
            f"SECRET_KEY=none exec python3 manage.py node_agent --config {FOLDER}/node.toml",
            LOG,
        )
        self.await_up()

    def kill(self) -> None:
        """End the agent at once. Targets and volumes stay as they are."""
        self.machine.shell(f"kill -9 $(cat {PID}) && while kill -0 $(cat {PID}) 2>/dev/null; do :; done")

    def restart(self) -> None:
        self.kill()
        self.start()

    def log(self) -> str:
        try:
            return self.machine.run("cat", LOG)
        except Failed as error:
            return str(error)
