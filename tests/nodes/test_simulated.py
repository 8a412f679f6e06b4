"""The simulated engine keeps the contract, and what only it promises."""

from collections.abc import Callable

import pytest

from inventory.nodes.client import NodeClient, NodeTransport
from inventory.nodes.engines.simulated import SimulatedFleet, SimulatedNode
from inventory.nodes.wire import Portal, Qos, VolumeSpec
from tests.nodes.certificates import KeyPair
from tests.nodes.conftest import TOKEN
from tests.nodes.contract import EngineContract, ssds, uuid
from tests.nodes.specs import GIB, HOST, TARGET, namespace, piece, volume

__all__ = ["ssds", "uuid"]


class TestSimulatedEngine(EngineContract):
    @pytest.fixture
    def restart(self, node: SimulatedNode) -> Callable[[], None]:
        return node.restart
