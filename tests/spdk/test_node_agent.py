"""``manage.py node_agent`` as a process, over a fake target in another process."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventory.nodes.client import NodeRefused, NodeTransport, NodeUnreachable
from inventory.nodes.engines.node_config import WrongConfig
from inventory.nodes.engines.spdk.node_config import read_config
from inventory.nodes.wire import RefusalCode
from tests.nodes.certificates import TOKEN, KeyPair, TestCa
from tests.nodes.specs import GIB, HOST, TARGET, namespace, piece, volume
from tests.spdk.client import Client
from tests.spdk.host import Host
from tests.spdk.nodes import write_config
from tests.spdk.processes import NodeProcesses, agent_command, environment
from tests.system.stack import ROOT


@pytest.fixture
def config(tmp_path: Path, server_pair: KeyPair) -> Path:
    return write_config(1, tmp_path / "node", tmp_path / "socket", server_pair)


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, ca: TestCa, server_pair: KeyPair
) -> Iterator[NodeProcesses]:
    """A running node. Each test leaves it up."""
    transport = NodeTransport(ca_file=ca.file, token=TOKEN)
    folder = tmp_path_factory.mktemp("spdk") / "node"
    node = NodeProcesses(1, folder, server_pair, transport, gib=4)
    yield node
    node.close()
    transport.close()


def run(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        agent_command(config, *arguments),
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_node_runs_without_database_and_redis(node: NodeProcesses) -> None:
    boot = node.await_up()
    found = node.client.read_node()
    assert (found.persistent_id, found.name) == ("02:00:00:00:01:01", "node-1")
    assert [ssd.ssd_id for ssd in found.ssds] == ["ssd-1-1", "ssd-1-2", "ssd-1-3"]
    port = found.portals[0].port
    client = node.client
    client.ensure_volume("v", volume(piece("ssd-1-1"), piece("ssd-1-2")))
    client.ensure_namespace(TARGET, "v", namespace())
    with Host("127.0.0.1", port, TARGET, HOST) as host:
        host.write(1, GIB - 4096, b"kept" * 2048)
    for service in (node.agent, node.target):
        service.kill()
        service.start()
        boot = node.await_up(other_than=boot)
        with Host("127.0.0.1", port, TARGET, HOST) as host:
            assert host.read(1, GIB - 4096, 8192) == b"kept" * 2048
    assert node.agent.terminate() == 0
    assert any("is up" in line["message"] for line in node.logged())
    assert TOKEN not in node.agent.log.read_text()
    node.agent.start()
    node.await_up(other_than=boot)


def test_a_node_without_its_spdk_target_refuses_calls(node: NodeProcesses) -> None:
    boot = node.await_up()
    node.target.kill()
    codes: set[RefusalCode] = set()
    while RefusalCode.UNAVAILABLE not in codes:
        try:
            node.client.read_volume("v")
        except NodeRefused as refusal:
            codes.add(refusal.code)
        except NodeUnreachable:
            pass
    node.target.start()
    node.await_up(other_than=boot)


def test_a_second_agent_cannot_use_the_state_folder(node: NodeProcesses) -> None:
    node.await_up()
    second = run(node.file)
    assert second.returncode == 1
    assert "state_folder" in second.stderr
    assert "another agent" in second.stderr


def test_a_drive_is_overwritten_only_on_request(
    tmp_path: Path, server_pair: KeyPair, transport: NodeTransport
) -> None:
    folder = tmp_path / "node"
    folder.mkdir()
    drive = folder / "ssd-2"
    drive.write_bytes(b"somebody's data")
    os.truncate(drive, 4 * GIB)
    node = NodeProcesses(1, folder, server_pair, transport, gib=4)
    boot = node.await_up()
    assert [ssd.ssd_id for ssd in node.client.read_node().ssds] == ["ssd-1-1", "ssd-1-3"]
    with drive.open("rb") as opened:
        assert opened.read(15) == b"somebody's data"
    node.agent.terminate()
    node.agent.command += ["--format", "ssd-1-2"]
    node.agent.start()
    node.await_up(other_than=boot)
    assert len(node.client.read_node().ssds) == 3
    node.client.ensure_volume("v", volume(piece("ssd-1-2")))
    lvols = Client(node.socket)
    before = lvols("bdev_lvol_get_lvols")
    boot = node.await_up()
    node.agent.terminate()
    node.agent.start()
    node.await_up(other_than=boot)
    assert lvols("bdev_lvol_get_lvols") == before
    lvols.close()
    node.close()


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        (r"port = \d+", "port = 70000", ("port is '70000'", "65535")),
        (r"name = \S+", "nome = 1", ("name: Field required",)),
        (r'"127.0.0.1"\nport', '"somewhere"\nport', ("address is 'somewhere'", "IPv4")),
        (r"token_file = \S+", "", ("needs client_ca or token_file",)),
        (r'certificate = "', 'certificate = "/none', ("certificate is '/none", "an existing file")),
        (r"block_size = 4096", "block_size = 4095", ("ssds.0.block_size is '4095'", "4096")),
        (r'id = "ssd-1-2"', 'id = "ssd-1-1"', ("ssds: id ssd-1-1 is listed twice",)),
        (r'id = "ssd-1-2"', 'id = "ssd-1-2"\nbdev = "Nvme0n1"', ("ssds.1", "either bdev or file")),
        (r"port = (\d+) }", r'port = \1, transport = "rdma" }', ("transport is 'rdma'", "'tcp'")),
        (r"total_iops = \S+", "total_iops = 0", ("total_iops is '0'", "greater than or equal")),
        (r'socket = "', 'socket = "relative', ("socket is 'relative", "an absolute path")),
        (r"\A", "]", ("node.toml",)),
    ],
)
def test_wrong_values_are_named(config: Path, old: str, new: str, parts: tuple[str, ...]) -> None:
    text = config.read_text()
    wrong = re.sub(old, new, text, count=1)
    assert wrong != text
    config.write_text(wrong)
    with pytest.raises(WrongConfig) as caught:
        read_config(config)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_unknown_values_and_empty_tokens_are_refused(config: Path) -> None:
    config.write_text("persistent = 1\n" + config.read_text())
    with pytest.raises(WrongConfig, match=r"persistent is '1': Extra inputs"):
        read_config(config)
    config.write_text(config.read_text().removeprefix("persistent = 1\n"))
    with pytest.raises(WrongConfig, match=r"--format ssd-9: no such id"):
        read_config(config, to_format=["ssd-9"])
    (config.parent / "token").write_text("\n")
    with pytest.raises(WrongConfig, match=r"token_file: .* is empty"):
        read_config(config)


def test_mutual_tls_replaces_the_token(config: Path, ca: TestCa) -> None:
    text = re.sub(r"token_file = \S+", f'client_ca = "{ca.file}"', config.read_text())
    config.write_text(text)
    found = read_config(config)
    assert (found.token, found.tls.client_ca) == (None, ca.file)


def test_configuration_errors_are_one_sentence(config: Path) -> None:
    failed = run(config, "--format", "none")
    assert failed.returncode == 1
    assert "no such id" in failed.stderr
    assert "Traceback" not in failed.stderr
