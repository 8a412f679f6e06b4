"""The configuration files of docs/how-to/add-a-linux-node.md and of the laptop in README.md are
valid, and mean what the pages say.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from inventory.nodes.engines.linux import node_config
from inventory.nodes.engines.linux.node_config import LinuxNodeConfig
from inventory.nodes.engines.node_config import WrongConfig
from inventory.nodes.engines.read_config import read_config
from inventory.nodes.wire import Portal
from tests.nodes.certificates import KeyPair, TestCa
from tests.system.stack import ROOT

PAGE = (ROOT / "docs/how-to/add-a-linux-node.md").read_text()
SERVER, RDMA_PORTAL = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
LAPTOP = (ROOT / "deploy/laptop-node.toml").read_text()
README = (ROOT / "README.md").read_text()

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, ca: TestCa, server_pair: KeyPair) -> Write:
    """Write a file of the page, with paths of existing certificates."""

    def written(text: str) -> Path:
        for name, path in (
            ("certificate", server_pair.certificate),
            ("key", server_pair.key),
            ("client_ca", ca.file),
        ):
            text = re.sub(rf"^{name} = .*$", f'{name} = "{path}"', text, flags=re.MULTILINE)
        file = tmp_path / "node.toml"
        file.write_text(text)
        return file

    return written


def test_the_configuration_of_a_server_is_valid(write: Write) -> None:
    found = read_config(write(SERVER), to_format=re.findall(r"--format (\w+)", PAGE))
    assert isinstance(found, LinuxNodeConfig)
    assert found.linux.portals == (Portal(ip="10.1.0.11", port=4420),)
    assert found.linux.node == found.identity.persistent_id
    assert [ssd.format for ssd in found.linux.ssds] == [True, False]


def test_the_portal_over_rdma_is_valid(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rdma").touch(mode=0o755)
    monkeypatch.setattr(node_config, "ENVIRONMENT", {"PATH": str(tmp_path)})
    found = read_config(write(SERVER + RDMA_PORTAL))
    assert isinstance(found, LinuxNodeConfig)
    portal = Portal(ip="10.1.0.11", port=4420)
    assert found.linux.portals == (portal, portal.model_copy(update={"transport": "RoCEv2"}))


def test_the_configuration_of_a_laptop_is_valid(write: Write) -> None:
    found = read_config(write(LAPTOP))
    assert isinstance(found, LinuxNodeConfig)
    made = re.search(r"for n in (.*); do\n.*\n.*losetup .* (/dev/loop1)\$n", README)
    assert made
    devices = [f"{made[2]}{number}" for number in made[1].split()]
    assert [ssd.device for ssd in found.linux.ssds] == devices


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('engine = "linux"', 'engine = "zfs"', "engine is 'zfs': must be one of spdk, linux"),
        ("/dev/loop11", "/srv/ssd", "ssds.0.device is '/srv/ssd'"),
        ("/dev/loop11", "/dev/a|b", "ssds.0.device is '/dev/a|b'"),
        ("/dev/loop12", "/dev/loop11", "ssds: device /dev/loop11 is listed twice"),
        ('"loop-2"', '"loop-1"', "ssds: id loop-1 is listed twice"),
        ("client_ca", "socket", "socket"),
        (
            '{ ip = "127.0.0.1"',
            '{ ip = "0.0.0.0"',
            "portals.0.ip is '0.0.0.0': must be an address that others can connect to",
        ),
        (
            "port = 4420",
            'transport = "fc"',
            "portals.0.transport is 'fc': Input should be 'tcp' or",
        ),
        (
            "port = 4420",
            'transport = "rdma"',
            "portals: at least one must have transport tcp, over which nodes copy volumes",
        ),
        (
            "}]",
            '}, { ip = "127.0.0.2", transport = "rdma" }]',
            "portals: 127.0.0.2 port 4420 over RDMA: must be the address of an RDMA device",
        ),
        (
            "}]",
            "}" + ', { ip = "10.1.0.12", transport = "rdma" }' * 2 + "]",
            "portals 10.1.0.12 port 4420 over RDMA is listed twice",
        ),
    ],
)
def test_wrong_values_are_named(write: Write, old: str, new: str, text: str) -> None:
    with pytest.raises(WrongConfig, match=re.escape(text)):
        read_config(write(LAPTOP.replace(old, new)))


def test_a_portal_over_rdma_needs_the_command_that_shows_its_hosts(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_config, "ENVIRONMENT", {"PATH": "/nowhere"})
    file = write(SERVER + RDMA_PORTAL)
    with pytest.raises(WrongConfig, match=r"needs the command rdma, .* package iproute2$"):
        read_config(file)
    assert read_config(write(SERVER))
