"""Simulated nodes on real HTTPS for the tests of the node API; no Django."""

import uuid as uuids
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inventory.nodes.client import NodeClient, NodeTransport
from inventory.nodes.engines.simulated import SimulatedFleet, SimulatedNode
from provisioner.common.certificate_roles import CertificateRole
from tests.nodes.certificates import TOKEN, KeyPair, TestCa
from tests.spdk.fixtures import make_node, targets  # noqa: F401

COPY_RATE = 2**40


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> TestCa:
    return TestCa(tmp_path_factory.mktemp("pool"))


@pytest.fixture(scope="session")
def server_pair(ca: TestCa) -> KeyPair:
    return ca.issue("node", CertificateRole.NODE)


@pytest.fixture(scope="session")
def running_fleet(server_pair: KeyPair) -> Iterator[SimulatedFleet]:
    with SimulatedFleet(
        3,
        certificate=server_pair.certificate,
        key=server_pair.key,
        token=TOKEN,
        copy_rate=COPY_RATE,
    ) as fleet:
        yield fleet


@pytest.fixture
def fleet(
    running_fleet: SimulatedFleet, request: pytest.FixtureRequest
) -> Iterator[SimulatedFleet]:
    """Three new nodes. A test fails if a caller breaks the rules for generations, unless the test
    has a mark that allows it.
    """
    running_fleet.reset()
    yield running_fleet
    breaks = request.node.get_closest_marker("breaks_generations") is not None
    assert bool(running_fleet.violations) is breaks, running_fleet.violations


@pytest.fixture
def node(fleet: SimulatedFleet) -> SimulatedNode:
    return fleet.nodes[0]


@pytest.fixture
def transport(ca: TestCa) -> Iterator[NodeTransport]:
    transport = NodeTransport(ca_file=ca.file, token=TOKEN)
    yield transport
    transport.close()


@pytest.fixture
def make_client(transport: NodeTransport) -> Callable[[SimulatedNode], NodeClient]:
    return lambda node: NodeClient(transport, [node.address], node.port)


@pytest.fixture
def client(node: SimulatedNode, make_client: Callable[[SimulatedNode], NodeClient]) -> NodeClient:
    return make_client(node)


@pytest.fixture
def peer(fleet: SimulatedFleet, make_client: Callable[[SimulatedNode], NodeClient]) -> NodeClient:
    """Another node, as a destination of copies."""
    return make_client(fleet.nodes[1])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "nodes.sqlite3"


@pytest.fixture
def uuid() -> str:
    return str(uuids.uuid4())


@pytest.fixture
def ssds(client: NodeClient) -> list[str]:
    return [ssd.ssd_id for ssd in client.read_node().ssds]
