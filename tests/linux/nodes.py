"""Storage nodes on a fake machine, in the process of the test: real agents and engines."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from inventory.nodes.client import NodeTransport
from inventory.nodes.engines.linux.engine import LinuxEngine
from inventory.nodes.engines.linux.kernel import Kernel
from inventory.nodes.engines.linux.node_config import LinuxNodeConfig, read_config
from tests.linux.drives import Drive
from tests.linux.kernel import FakeKernel
from tests.linux.network import Network
from tests.nodes.certificates import TOKEN, KeyPair
from tests.servers import free_port
from tests.spdk.nodes import NearNode

SSD_BYTES = 16 * 2**30
WATCH = 0.01

CONFIG = """
engine = "linux"
persistent_id = "02:00:00:00:02:{number:02x}"
name = "node-{number}"
address = "127.0.0.1"
port = {port}
certificate = "{pair.certificate}"
key = "{pair.key}"
token_file = "{folder}/token"
state_folder = "{folder}/state"
total_bandwidth = 4_000_000_000
total_iops = 300_000
portals = [{{ ip = "127.0.0.1", port = {nvme_port} }}]
"""
SSD = """
[[ssds]]
id = "ssd-{number}-{slot}"
device = "{device}"
"""


def write_config(number: int, folder: Path, pair: KeyPair, devices: Sequence[str]) -> Path:
    """Write the configuration file of a node with these devices."""
    (folder / "state").mkdir(parents=True, exist_ok=True)
    (folder / "token").write_text(TOKEN)
    text = CONFIG.format(
        number=number, port=free_port(), pair=pair, folder=folder, nvme_port=free_port()
    )
    for slot, device in enumerate(devices, 1):
        text += SSD.format(number=number, slot=slot, device=device)
    file = folder / "node.toml"
    file.write_text(text)
    return file


def make_drives(number: int, block_sizes: Sequence[int] = (4096, 4096, 512)) -> list[Drive]:
    """Create empty drives for a node."""
    return [
        Drive(f"/dev/disk/by-id/fake.{number}-{slot}", SSD_BYTES, block_size)
        for slot, block_size in enumerate(block_sizes, 1)
    ]


@dataclass(frozen=True)
class FakeNodeConfig(LinuxNodeConfig):
    """The configuration of a node on a fake machine."""

    kernel: Kernel

    def make_engine(self) -> LinuxEngine:
        return LinuxEngine(self.kernel, self.linux, watch_seconds=WATCH)


class LinuxNode(NearNode):
    """A node on a fake machine."""

    def __init__(self, file: Path, kernel: FakeKernel, transport: NodeTransport) -> None:
        self.kernel = kernel
        config = read_config(file)
        values = {one.name: getattr(config, one.name) for one in fields(config)}
        super().__init__(FakeNodeConfig(**values, kernel=kernel), transport)

    @classmethod
    def make(
        cls, number: int, folder: Path, network: Network, pair: KeyPair, transport: NodeTransport
    ) -> "LinuxNode":
        drives = make_drives(number)
        file = write_config(number, folder, pair, [drive.path for drive in drives])
        return cls(file, FakeKernel(drives, network), transport)

    def reboot(self) -> None:
        """Restart the machine, and the agent with it."""
        self.kill()
        self.kernel.reboot()
        self.start()

    def vanish(self, uuid: str) -> None:
        """Lose the last logical volume of the volume or snapshot."""
        names = {f"v-{uuid}", f"s-{uuid}"}
        there = {
            name for drive in self.kernel.drives if drive.group for name in drive.group.volumes
        }
        self.kernel.lose(sorted(names & there)[0])
