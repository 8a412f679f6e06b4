"""What an agent could not restore when it started is tried again until it succeeds."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventory.nodes.agent import service
from inventory.nodes.client import NodeTransport
from inventory.nodes.engines.linux.engine import LinuxEngine
from inventory.nodes.engines.linux.kernel import Stuck
from inventory.nodes.errors import NodeUnreachable
from inventory.nodes.wire import Portal
from tests.linux.network import Network
from tests.linux.nodes import LinuxNode
from tests.nodes.certificates import KeyPair
from tests.nodes.specs import HOST, MIB, TARGET, namespace, piece, volume
from tests.waiting import eventually

FAILURES = 50
"""More calls than those of the watch over the drives between two repairs."""


@pytest.fixture
def node(
    tmp_path: Path,
    server_pair: KeyPair,
    transport: NodeTransport,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[LinuxNode]:
    monkeypatch.setattr(service, "REPAIR_SECONDS", 0.01)
    node = LinuxNode.make(1, tmp_path, Network(), server_pair, transport)
    yield node
    node.close()


def test_a_failed_repair_is_tried_again(node: LinuxNode, caplog: pytest.LogCaptureFixture) -> None:
    """One command that does not end in time must not leave a path of a host missing."""
    node.client.ensure_volume("v", volume(piece("ssd-1-1", 64 * MIB)))
    node.client.ensure_namespace(TARGET, "v", namespace())
    [portal] = node.client.read_node().portals
    node.kill()
    addresses = set(node.kernel.addresses)
    node.kernel.addresses.clear()
    node.kernel.reboot()
    node.start()
    seen: list[tuple[str, ...]] = []

    def on_call(words: tuple[str, ...]) -> None:
        if words[:2] == ("dmsetup", "status") and len(seen) < FAILURES:
            seen.append(words)
            raise Stuck("dmsetup status did not end within 60 s")

    node.kernel.on_call = on_call
    eventually(lambda: len(seen) == FAILURES, seconds=30, what="the failures")
    assert not is_connected(node, portal)
    node.kernel.addresses |= addresses
    eventually(lambda: is_connected(node, portal), seconds=30, what=lambda: caplog.text)


def test_targets_are_repaired_while_a_removal_takes_hours(
    node: LinuxNode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for uuid in ("v", "large"):
        node.client.ensure_volume(uuid, volume(piece("ssd-1-1", 64 * MIB)))
    node.client.ensure_namespace(TARGET, "v", namespace())
    [portal] = node.client.read_node().portals
    removing: list[str] = []

    async def fail(engine: LinuxEngine, uuid: str) -> None:
        raise Stuck("lvremove did not end within 60 s")

    async def take_hours(engine: LinuxEngine, uuid: str) -> None:
        removing.append(uuid)
        await asyncio.Event().wait()

    monkeypatch.setattr(LinuxEngine, "remove_volume", fail)
    with pytest.raises(NodeUnreachable):
        node.client.remove_volume("large", 1)
    monkeypatch.setattr(LinuxEngine, "remove_volume", take_hours)
    node.kill()
    addresses = set(node.kernel.addresses)
    node.kernel.addresses.clear()
    node.kernel.reboot()
    node.start()
    eventually(lambda: removing == ["large"], seconds=30, what=lambda: caplog.text)
    assert not is_connected(node, portal)
    node.kernel.addresses |= addresses
    eventually(lambda: is_connected(node, portal), seconds=30, what=lambda: caplog.text)


def is_connected(node: LinuxNode, portal: Portal) -> bool:
    """Whether the host can connect, and sees its volume."""
    try:
        address = ("tcp", portal.ip, portal.port)
        node.kernel.network.connect(address, TARGET, HOST).device(1)
    except OSError:
        return False
    return True
