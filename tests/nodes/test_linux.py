"""The engine over the Linux kernel fulfils the engines' contract, on a fake machine."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inventory.nodes.client import NodeClient, NodeTransport
from tests.linux.network import Network
from tests.linux.nodes import LinuxNode
from tests.nodes.certificates import KeyPair
from tests.nodes.contract import EngineContract
from tests.nodes.contract_losses import Vanish


class TestOnAFakeMachine(EngineContract):
    """``restart`` restarts the machine, and the agent with it."""

    enforces_limits = False

    @pytest.fixture
    def nodes(
        self, tmp_path: Path, server_pair: KeyPair, transport: NodeTransport
    ) -> Iterator[list[LinuxNode]]:
        network = Network()
        nodes = [
            LinuxNode.make(number, tmp_path / str(number), network, server_pair, transport)
            for number in (1, 2)
        ]
        yield nodes
        for node in nodes:
            node.close()

    @pytest.fixture
    def client(self, nodes: list[LinuxNode]) -> NodeClient:
        return nodes[0].client

    @pytest.fixture
    def peer(self, nodes: list[LinuxNode]) -> NodeClient:
        return nodes[1].client

    @pytest.fixture
    def restart(self, nodes: list[LinuxNode]) -> Callable[[], None]:
        return nodes[0].reboot

    @pytest.fixture
    def vanish(self, nodes: list[LinuxNode]) -> Vanish:
        return nodes[0].vanish
