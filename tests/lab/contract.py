"""The engine ``linux`` keeps the engines' contract on Debian's kernel. Both nodes are agents in one
machine, each with drives of its own; after each test they are new again.
"""

from collections.abc import Callable, Iterator

import pytest

from inventory.nodes.client import NodeClient, NodeTransport
from provisioner.certificates import Authority
from tests.lab.agents import Agents
from tests.lab.conftest import MakeMachine
from tests.nodes.conftest import ssds, uuid  # noqa: F401
from tests.nodes.contract import EngineContract
from tests.nodes.contract_losses import Vanish
from tests.nodes.specs import GIB

pytestmark = pytest.mark.timeout(1800)

DRIVES = [(16 * GIB, 4096), (16 * GIB, 4096), (16 * GIB, 512)]


@pytest.fixture(scope="module")
def agents(
    make_machine: MakeMachine, authority: Authority, lab_transport: NodeTransport
) -> Iterator[Agents]:
    machine = make_machine(2 * DRIVES)
    machine.await_up()
    half = len(DRIVES)
    agents = Agents(
        machine, authority, lab_transport, [machine.drives[:half], machine.drives[half:]]
    )
    agents.format()
    agents.save()
    yield agents
    agents.close()


class TestOnTheKernel(EngineContract):
    """``restart``: the agent dies, the kernel stays."""

    enforces_limits = False

    @pytest.fixture(autouse=True)
    def _clear(self, agents: Agents) -> None:
        agents.clear()

    @pytest.fixture
    def client(self, agents: Agents) -> NodeClient:
        return agents.renew(0)

    @pytest.fixture
    def peer(self, agents: Agents) -> NodeClient:
        return agents.renew(1)

    @pytest.fixture
    def restart(self, agents: Agents) -> Callable[[], None]:
        return lambda: agents.restart(0)

    @pytest.fixture
    def vanish(self, agents: Agents) -> Vanish:
        return agents.vanish
