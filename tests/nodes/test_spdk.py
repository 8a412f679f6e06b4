"""The SPDK engine keeps the contract: on the fake target, and on real ones where they are named.

``SPDK_SOCKET`` is the socket of a running target that is there for these tests alone: everything in
it is removed. With ``SPDK_SOCKET_2``, that of another one which it can reach over TCP, copies
between nodes are tested, too.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inventory.nodes.client import NodeClient, NodeTransport
from tests.nodes.certificates import KeyPair
from tests.nodes.contract import EngineContract, NodeContract, TargetContract
from tests.nodes.contract_snapshots import SnapshotContract, SourceContract
from tests.nodes.contract_volumes import GenerationContract, VolumeContract
from tests.spdk.nodes import SpdkNode, clean, write_config
from tests.spdk.running import RunningTarget

REAL = [Path(os.environ[name]) for name in ("SPDK_SOCKET", "SPDK_SOCKET_2") if os.environ.get(name)]

MakeNode = Callable[[int, Path], SpdkNode]


@pytest.fixture
def make_node(tmp_path: Path, server_pair: KeyPair, transport: NodeTransport) -> Iterator[MakeNode]:
    """A node with SSDs of both block sizes, over a target, which is cleaned after the test."""
    nodes: list[SpdkNode] = []

    def make(number: int, socket: Path) -> SpdkNode:
        zeroes = (True, bool(REAL), True)
        file = write_config(number, tmp_path / str(number), socket, server_pair, zeroes=zeroes)
        nodes.append(SpdkNode.of_file(file, transport))
        return nodes[-1]

    yield make
    for node in nodes:
        node.close()
        clean(node.socket)


@pytest.fixture(scope="module")
def targets() -> Iterator[list[RunningTarget]]:
    targets = [RunningTarget(), RunningTarget()]
    yield targets
    for target in targets:
        target.close()


class TestOnTheFakeTarget(EngineContract):
    """``restart``: both agent and target die."""

    @pytest.fixture
    def node(self, make_node: MakeNode, targets: list[RunningTarget]) -> SpdkNode:
        return make_node(1, targets[0].socket)

    @pytest.fixture
    def client(self, node: SpdkNode) -> NodeClient:
        return node.client

    @pytest.fixture
    def peer(self, make_node: MakeNode, targets: list[RunningTarget]) -> NodeClient:
        return make_node(2, targets[1].socket).client

    @pytest.fixture
    def restart(self, node: SpdkNode, targets: list[RunningTarget]) -> Callable[[], None]:
        def both() -> None:
            node.kill()
            targets[0].restart()
            node.start()

        return both


class OnARealTarget:
    """``restart``: of the agent; that of the target is up to who runs it."""

    @pytest.fixture
    def node(self, make_node: MakeNode) -> SpdkNode:
        return make_node(1, REAL[0])

    @pytest.fixture
    def client(self, node: SpdkNode) -> NodeClient:
        return node.client

    @pytest.fixture
    def restart(self, node: SpdkNode) -> Callable[[], None]:
        return node.restart


if len(REAL) == 1:

    class TestOnARealTarget(
        OnARealTarget,
        NodeContract,
        VolumeContract,
        GenerationContract,
        SnapshotContract,
        SourceContract,
        TargetContract,
    ):
        """All but copies."""


if len(REAL) == 2:

    class TestOnRealTargets(OnARealTarget, EngineContract):
        @pytest.fixture
        def peer(self, make_node: MakeNode) -> NodeClient:
            return make_node(2, REAL[1]).client
