"""Drives that SPDK has by itself, which the configuration names."""

from pathlib import Path

from inventory.nodes.client import NodeTransport
from inventory.nodes.engines.spdk.node_config import read_config
from tests.nodes.certificates import KeyPair
from tests.spdk.client import Client
from tests.spdk.nodes import SpdkNode, write_config
from tests.spdk.running import RunningTarget


def test_a_drive_is_formatted_on_request_only(
    tmp_path: Path,
    server_pair: KeyPair,
    transport: NodeTransport,
    target: RunningTarget,
    call: Client,
    drive: Path,
) -> None:
    """What it holds cannot be seen, so that it holds no lvstore says nothing."""
    call("bdev_aio_create", name="Nvme0n1", filename=str(drive), block_size=4096)
    file = write_config(1, tmp_path / "node", target.socket, server_pair, zeroes=(True,) * 3, gib=4)
    text = file.read_text()
    mine = f'file = "{tmp_path}/node/ssd-2"\nsize_gib = 4'
    assert mine in text
    file.write_text(text.replace(mine, 'bdev = "Nvme0n1"'))
    found = []
    for to_format in ([], ["ssd-1-2"], []):
        config = read_config(file, to_format=to_format)
        config.make_files()
        node = SpdkNode(config, transport)
        found.append([ssd.ssd_id for ssd in node.client.read_node().ssds])
        stores = {one["base_bdev"]: one["uuid"] for one in call("bdev_lvol_get_lvstores")}
        assert ("Nvme0n1" in stores) == ("ssd-1-2" in found[-1])
        node.close()
    assert found == [["ssd-1-1", "ssd-1-3"], *[["ssd-1-1", "ssd-1-2", "ssd-1-3"]] * 2]
