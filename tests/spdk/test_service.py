"""The behaviour of an agent when its SPDK target dies, and when the agent ends."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import pytest

from inventory.nodes.agent import service
from inventory.nodes.client import NodeRefused, NodeUnreachable
from inventory.nodes.wire import RefusalCode
from tests.nodes.specs import HOST, MIB, TARGET, namespace, piece, volume
from tests.spdk.fixtures import MakeNode
from tests.spdk.host import Host
from tests.spdk.nodes import SpdkNode
from tests.spdk.running import RunningTarget

SPEC = volume(piece("ssd-1-1", 8 * MIB))
CREATE = "bdev_lvol_create"


@pytest.fixture
def target(targets: list[RunningTarget]) -> RunningTarget:
    return targets[0]


@pytest.fixture
def node(make_node: MakeNode, target: RunningTarget) -> SpdkNode:
    return make_node(1, target.socket)


@pytest.fixture
def in_flight(node: SpdkNode, target: RunningTarget) -> Iterator[Future[bool]]:
    """A create of ``v`` whose answer SPDK delays."""
    target.delay(CREATE, 0.5)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(node.client.ensure_volume, "v", SPEC)
        pause = threading.Event()
        while CREATE not in target.target.calls:
            pause.wait(0.01)
        yield call
    target.delay(CREATE, 0)


def test_a_stop_lets_running_calls_finish(node: SpdkNode, in_flight: Future[bool]) -> None:
    with ThreadPoolExecutor(1) as threads:
        stopping = threads.submit(node.stop)
        codes: set[RefusalCode] = set()
        while not codes:
            try:
                node.client.read_node()
            except NodeRefused as refused:
                codes.add(refused.code)
        assert codes == {RefusalCode.UNAVAILABLE}
        assert in_flight.result(10) is True
        stopping.result(10)
    with pytest.raises(NodeUnreachable):
        node.client.read_node()
    node.start()
    assert node.client.ensure_volume("v", SPEC) is False


def test_a_call_does_not_outlive_the_target(
    node: SpdkNode, target: RunningTarget, in_flight: Future[bool]
) -> None:
    boot = node.await_up()
    target.restart()
    with pytest.raises(NodeUnreachable):
        in_flight.result(10)
    node.await_up(other_than=boot)
    assert node.client.ensure_volume("v", SPEC) in {True, False}
    assert [one.uuid for one in node.client.list_volumes()] == ["v"]
    assert node.client.read_drift() == ()


def test_a_removal_goes_on_without_its_caller(node: SpdkNode, target: RunningTarget) -> None:
    """It may take longer than any caller waits. A retry does not start it again."""
    node.client.ensure_volume("v", SPEC)
    target.target.calls.clear()
    target.clear_for(1)
    for _ in range(2):
        with pytest.raises(NodeUnreachable):
            node.client.remove_volume("v", 1, timeout=0.1)
    assert node.client.ensure_volume("w", SPEC) is True
    assert [one.uuid for one in node.client.list_volumes()] == ["w"]
    node.client.remove_volume("v", 1)
    assert [one.uuid for one in node.client.list_volumes()] == ["w"]
    assert target.target.calls.count("bdev_lvol_delete") == 1
    target.clear_for(0)


def test_a_target_comes_back_when_its_port_is_free(
    node: SpdkNode, target: RunningTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the node is up without this target, so that its other objects can be used."""
    monkeypatch.setattr(service, "REPAIR_SECONDS", 0.05)
    [portal] = node.config.spdk.portals
    node.client.ensure_volume("v", SPEC)
    node.client.ensure_namespace(TARGET, "v", namespace())
    boot = node.await_up()
    target.kill()
    with socket.create_server((portal.ip, portal.port)):
        target.start()
        boot = node.await_up(other_than=boot)
    while True:
        with suppress(OSError), Host(portal.ip, portal.port, TARGET, HOST) as host:
            assert host.read(1, 0, 4) == bytes(4)
            break
    assert node.await_up() == boot
