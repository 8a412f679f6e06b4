"""``--format`` applies once: a drive that was formatted is never formatted again."""

from pathlib import Path

from inventory.nodes.client import NodeTransport
from inventory.nodes.engines.spdk.node_config import read_config
from tests.nodes.certificates import KeyPair
from tests.spdk.nodes import SpdkNode, write_config
from tests.spdk.running import RunningTarget

SIZE = 4 * 2**30


def test_a_formatted_drive_is_never_formatted_again(
    tmp_path: Path, server_pair: KeyPair, transport: NodeTransport, target: RunningTarget
) -> None:
    file = write_config(1, tmp_path / "node", target.socket, server_pair, gib=4)
    config = read_config(file, to_format=["ssd-1-1", "ssd-1-2"])
    config.prepare()
    node = SpdkNode(config, transport)
    assert len(node.client.read_node().ssds) == 3
    drive = tmp_path / "node" / "ssd-1"
    for content in (b"somebody's", b""):
        boot = node.await_up()
        target.kill()
        drive.write_bytes(content)
        with drive.open("r+b") as opened:
            opened.truncate(SIZE)
        target.start()
        node.await_up(other_than=boot)
        assert [ssd.ssd_id for ssd in node.client.read_node().ssds] == ["ssd-1-2", "ssd-1-3"]
        with drive.open("rb") as opened:
            assert opened.read(16) == content.ljust(16, b"\0")
    node.close()
