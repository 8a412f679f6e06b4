"""The SPDK engine fulfils the engines' contract, on the fake target and, if they are configured, on
real targets.

``SPDK_SOCKET``: the socket of a running target that is used only for these tests; everything in it
is removed. ``SPDK_SOCKET_2``: the socket of another target that the first one can reach over TCP.
With it, copies between nodes are tested, too.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from inventory.nodes.client import NodeClient
from tests.nodes.contract import EngineContract, NodeContract, TargetContract
from tests.nodes.contract_losses import Vanish
from tests.nodes.contract_snapshots import SnapshotContract, SourceContract
from tests.nodes.contract_volumes import GenerationContract, VolumeContract
from tests.spdk.client import Client
from tests.spdk.fixtures import REAL, MakeNode
from tests.spdk.nodes import SpdkNode
from tests.spdk.running import RunningTarget


def vanish_from(socket: Path, uuid: str) -> None:
    """Delete the lvol of the volume's last piece, as an operator might by mistake."""
    call = Client(socket)
    shown = call("bdev_lvol_get_lvols")
    names = [
        one["alias"]
        for one in shown
        if one["name"] == f"v-{uuid}" or one["name"].startswith(f"s-{uuid}-")
    ]
    call("bdev_lvol_delete", name=sorted(names)[-1])
    call.close()


class TestOnTheFakeTarget(EngineContract):
    """``restart`` kills both the agent and the SPDK target."""

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

    @pytest.fixture
    def vanish(self, targets: list[RunningTarget]) -> Vanish:
        return partial(vanish_from, targets[0].socket)


class OnARealTarget:
    """``restart`` restarts only the agent. The SPDK target must be restarted by its operator."""

    @pytest.fixture
    def node(self, make_node: MakeNode) -> SpdkNode:
        return make_node(1, REAL[0])

    @pytest.fixture
    def client(self, node: SpdkNode) -> NodeClient:
        return node.client

    @pytest.fixture
    def restart(self, node: SpdkNode) -> Callable[[], None]:
        return node.restart

    @pytest.fixture
    def vanish(self) -> Vanish:
        return partial(vanish_from, REAL[0])


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
        """The contract without copies and other tests that need a second node."""


if len(REAL) == 2:

    class TestOnRealTargets(OnARealTarget, EngineContract):
        @pytest.fixture
        def peer(self, make_node: MakeNode) -> NodeClient:
            return make_node(2, REAL[1]).client
