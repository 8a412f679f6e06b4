"""Storage nodes on SPDK in the process of the test: real agents on a fake or a real target."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from inventory.nodes.agent.agent import Identity
from inventory.nodes.client import NodeClient, NodeRefused, NodeTransport, NodeUnreachable
from inventory.nodes.engines.node_config import NodeConfig
from inventory.nodes.engines.simulated.event_loop import LoopThread
from inventory.nodes.engines.spdk.node_config import SpdkNodeConfig, read_config
from tests.nodes.certificates import TOKEN, KeyPair
from tests.servers import free_port
from tests.spdk.client import Client
from tests.waiting import eventually

SSD_GIB = 16
UP_SECONDS = 180.0

CONFIG = """
persistent_id = "02:00:00:00:01:{number:02x}"
name = "node-{number}"
address = "127.0.0.1"
port = {port}
certificate = "{pair.certificate}"
key = "{pair.key}"
{callers}
socket = "{socket}"
state_folder = "{folder}/state"
total_bandwidth = 4_000_000_000
total_iops = 300_000
portals = [{{ ip = "127.0.0.1", port = {nvme_port} }}]
"""
SSD = """
[[ssds]]
id = "ssd-{number}-{slot}"
file = "{folder}/ssd-{slot}"
size_gib = {gib}
block_size = {block_size}
zeroes_on_unmap = {zeroes}
"""


def write_config(
    number: int,
    folder: Path,
    socket: Path,
    pair: KeyPair,
    *,
    zeroes: Sequence[bool] = (True, False, True),
    block_sizes: Sequence[int] = (4096, 4096, 512),
    gib: int = SSD_GIB,
    client_ca: Path | None = None,
) -> Path:
    """Write the configuration file of a node. ``zeroes``: for each SSD, whether unmapping zeroes
    it. Callers need a certificate of ``client_ca`` or, without one, the TOKEN.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state").mkdir(exist_ok=True)
    (folder / "token").write_text(TOKEN)
    text = CONFIG.format(
        callers=f'client_ca = "{client_ca}"' if client_ca else f'token_file = "{folder}/token"',
        number=number,
        port=free_port(),
        pair=pair,
        folder=folder,
        socket=socket,
        nvme_port=free_port(),
    )
    for slot, (zeroed, block_size) in enumerate(zip(zeroes, block_sizes, strict=True), 1):
        text += SSD.format(
            number=number,
            slot=slot,
            folder=folder,
            gib=gib,
            block_size=block_size,
            zeroes=str(zeroed).lower(),
        )
    file = folder / "node.toml"
    file.write_text(text)
    return file


class NodeCalls:
    """Calls to a node, for tests."""

    def __init__(self, node: Identity, transport: NodeTransport) -> None:
        self.address, self.port = node.addresses[0], node.port
        self.client = NodeClient(transport, node.addresses, node.port)

    def await_up(self, *, other_than: str = "") -> str:
        """Wait until the node is up with a boot id other than this one; return it."""
        found = other_than

        def is_up() -> bool:
            nonlocal found
            with contextlib.suppress(NodeRefused, NodeUnreachable):
                found = self.client.read_node().boot_id
            return found != other_than

        eventually(is_up, seconds=UP_SECONDS, what="the node is up", pause=0.01)
        return found


class NearNode(NodeCalls):
    """An agent as ``manage.py node_agent`` creates it, in a thread."""

    def __init__(self, config: NodeConfig, transport: NodeTransport) -> None:
        config.prepare()
        self._config = config
        super().__init__(config.identity, transport)
        self._loop = LoopThread(config.identity.name)
        self.start()

    def start(self) -> None:
        """Start the agent, and wait until it is up."""
        self._loop.run(self._open())
        self.await_up()

    def kill(self) -> None:
        """Stop the agent; running calls are aborted."""
        self._loop.run(self._service.close(finish_seconds=0))
        self._database.close()

    def stop(self) -> None:
        """Stop the agent as on SIGTERM."""
        self._loop.run(self._service.close())
        self._database.close()

    def restart(self) -> None:
        self.kill()
        self.start()

    def close(self) -> None:
        self.kill()
        self._loop.stop()

    async def _open(self) -> None:
        self._database = self._config.open_database()
        self._service = self._config.make_service(self._database)
        await self._service.open()


class SpdkNode(NearNode):
    """A node on SPDK."""

    def __init__(self, config: SpdkNodeConfig, transport: NodeTransport) -> None:
        self.config = config
        self.socket = config.spdk.socket
        super().__init__(config, transport)

    @classmethod
    def of_file(cls, file: Path, transport: NodeTransport) -> "SpdkNode":
        return cls(read_config(file), transport)


def clean(socket: Path) -> None:
    """Remove everything that tests created in the target, except the files under it."""
    call = Client(socket)
    for subsystem in call("nvmf_get_subsystems"):
        if subsystem["subtype"] != "Discovery":
            call("nvmf_delete_subsystem", nqn=subsystem["nqn"])
    for raid in call("bdev_raid_get_bdevs", category="all"):
        call("bdev_raid_delete", name=raid["name"])
    for controller in call("bdev_nvme_get_controllers"):
        call("bdev_nvme_detach_controller", name=controller["name"])
    for bdev in call("bdev_get_bdevs"):
        if bdev["product_name"] == "AIO disk":
            call("bdev_aio_delete", name=bdev["name"])
    call.close()
