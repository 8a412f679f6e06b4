"""The simulated engine: the engines' contract, and what only this engine guarantees."""

from collections.abc import Callable
from pathlib import Path

import pytest

from inventory.nodes.client import NodeClient, NodeRefused, NodeTransport
from inventory.nodes.engines.simulated import SimulatedFleet, SimulatedNode
from inventory.nodes.wire import Portal, Qos, RefusalCode
from tests.nodes.certificates import TOKEN, KeyPair
from tests.nodes.contract import EngineContract
from tests.nodes.contract_losses import Vanish
from tests.nodes.specs import (
    GIB,
    HOST,
    OTHER_HOST,
    OTHER_TARGET,
    TARGET,
    namespace,
    piece,
    volume,
)


class TestSimulatedEngine(EngineContract):
    @pytest.fixture
    def restart(self, node: SimulatedNode) -> Callable[[], None]:
        return node.restart

    @pytest.fixture
    def vanish(self, node: SimulatedNode) -> Vanish:
        return node.vanish


def test_the_agent_restores_what_a_restart_loses(
    client: NodeClient, node: SimulatedNode, ssds: list[str]
) -> None:
    qos = Qos(max_iops=1000)
    client.ensure_volume("v", volume(piece(ssds[0]), qos=qos))
    client.ensure_namespace(TARGET, "v", namespace(5))
    targets = dict(node.engine.targets)
    assert targets[TARGET].namespaces == {5: "v"}
    node.engine.qos.clear()
    node.run(node.engine.empty_target(TARGET))
    assert node.engine.targets == {}
    node.restart()
    assert node.engine.qos == {"v": qos}
    assert node.engine.targets == targets


def test_a_lost_volume_leaves_its_targets(
    client: NodeClient, node: SimulatedNode, ssds: list[str]
) -> None:
    """As with SPDK: hosts and copies must not see it any more."""
    for nsid, uuid in enumerate(("lost", "kept"), 1):
        client.ensure_volume(uuid, volume(piece(ssds[0])))
        client.ensure_namespace(TARGET, uuid, namespace(nsid))
    client.ensure_volume("alone", volume(piece(ssds[0])))
    client.ensure_namespace(OTHER_TARGET, "alone", namespace())
    node.vanish("lost")
    node.vanish("alone")
    assert {nqn: one.namespaces for nqn, one in node.engine.targets.items()} == {
        TARGET: {2: "kept"}
    }
    client.remove_namespace(TARGET, "lost", 1)
    client.remove_namespace(OTHER_TARGET, "alone", 1)
    assert node.violations == ()


def test_a_restart_removes_unrecorded_targets(
    client: NodeClient, node: SimulatedNode, ssds: list[str]
) -> None:
    client.ensure_volume("v", volume(piece(ssds[0])))
    client.ensure_namespace(TARGET, "v", namespace())
    client.ensure_namespace(OTHER_TARGET, "v", namespace())
    client.remove_namespace(OTHER_TARGET, "v", 1)
    node.restart()
    assert set(node.engine.targets) == {TARGET}


def test_connected_hosts_are_shown_while_the_target_exists(
    client: NodeClient, node: SimulatedNode, ssds: list[str]
) -> None:
    client.ensure_volume("v", volume(piece(ssds[0])))
    client.ensure_namespace(TARGET, "v", namespace())
    node.set_connected_hosts(TARGET, [HOST])
    node.set_connected_hosts(OTHER_TARGET, [OTHER_HOST])
    [target] = client.list_targets()
    assert target.connected_hosts == (HOST,)
    client.remove_namespace(TARGET, "v", 1)
    client.ensure_namespace(TARGET, "v", namespace(generation=2))
    [target] = client.list_targets()
    assert target.connected_hosts == (HOST,), "the host stayed connected to the empty target"


def test_changed_facts_are_reported(client: NodeClient, node: SimulatedNode) -> None:
    portals = (Portal(ip="10.0.0.1", port=4420), Portal(ip="10.0.0.2", port=4421))
    node.change(portals=portals, host_id="host-1", version="9.9")
    found = client.read_node()
    assert (found.portals, found.host_id, found.version) == (portals, "host-1", "9.9")


def test_the_identity_of_nodes_is_deterministic(server_pair: KeyPair) -> None:
    with SimulatedFleet(
        2, certificate=server_pair.certificate, key=server_pair.key, id_prefix="0a:0b:0c"
    ) as fleet:
        names = [(node.persistent_id, node.name) for node in fleet.nodes]
        assert names == [("0a:0b:0c:00:00:01", "node-1"), ("0a:0b:0c:00:00:02", "node-2")]
        ssds = [ssd.ssd_id for node in fleet.nodes for ssd in node.engine.ssds]
        assert len(set(ssds)) == 8


def test_nodes_can_have_their_own_addresses(server_pair: KeyPair, transport: NodeTransport) -> None:
    with SimulatedFleet(
        3,
        certificate=server_pair.certificate,
        key=server_pair.key,
        token=TOKEN,
        own_addresses=True,
    ) as fleet:
        assert [node.address for node in fleet.nodes] == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
        for node in fleet.nodes:
            found = NodeClient(transport, [node.address], node.port).read_node()
            assert found.name == node.name
            assert found.portals == (Portal(ip=node.address, port=4420),)


def test_a_new_process_finds_everything_acknowledged(
    server_pair: KeyPair, transport: NodeTransport, store: Path
) -> None:
    def open_fleet(base_port: int = 0) -> SimulatedFleet:
        return SimulatedFleet(
            2,
            certificate=server_pair.certificate,
            key=server_pair.key,
            token=TOKEN,
            store=store,
            base_port=base_port,
        )

    def client_of(node: SimulatedNode) -> NodeClient:
        return NodeClient(transport, [node.address], node.port)

    with open_fleet() as fleet:
        client = client_of(fleet.nodes[0])
        first = client.read_node()
        spec = volume(piece(first.ssds[0].ssd_id, GIB), qos=Qos(max_bw=10**6))
        client.ensure_volume("kept", spec)
        client.ensure_volume("removed", spec)
        client.remove_volume("removed", 1)
        client.ensure_namespace(TARGET, "kept", namespace())
        volumes, targets, ssds = (
            client.list_volumes(),
            client.list_targets(),
            client.read_node().ssds,
        )
    with open_fleet() as fleet:
        client = client_of(fleet.nodes[0])
        assert client.list_volumes() == volumes
        assert client.list_targets() == targets
        assert client.read_node().ssds == ssds
        assert client.read_node().boot_id != first.boot_id
        assert fleet.nodes[0].engine.qos == {"kept": spec.qos}
        assert client_of(fleet.nodes[1]).list_volumes() == ()
        with pytest.raises(NodeRefused) as caught:
            client.ensure_volume("removed", spec)
        assert caught.value.code is RefusalCode.STALE


def test_reset_makes_nodes_new(client: NodeClient, fleet: SimulatedFleet, ssds: list[str]) -> None:
    node = fleet.nodes[0]
    pristine = client.read_node()
    client.ensure_volume("v", volume(piece(ssds[0]), generation=9))
    client.ensure_namespace(TARGET, "v", namespace())
    node.change(portals=(), host_id="h")
    node.faults.go_down()
    fleet.reset()
    assert client.read_node().model_copy(update={"boot_id": pristine.boot_id}) == pristine
    assert client.list_volumes() == ()
    assert client.list_targets() == ()
    assert client.ensure_volume("v", volume(piece(ssds[0]))) is True


def test_reset_aborts_running_calls(
    client: NodeClient, fleet: SimulatedFleet, ssds: list[str]
) -> None:
    node = fleet.nodes[0]
    node.faults.slow(60_000)
    with pytest.raises(Exception, match=r"port"):
        client.ensure_volume("v", volume(piece(ssds[0])), timeout=0.05)
    fleet.reset()
    assert client.list_volumes() == ()


def test_different_content_of_one_generation_is_a_violation(
    server_pair: KeyPair, transport: NodeTransport
) -> None:
    with SimulatedFleet(
        1, certificate=server_pair.certificate, key=server_pair.key, token=TOKEN
    ) as fleet:
        [node] = fleet.nodes
        client = NodeClient(transport, [node.address], node.port)
        one, two, *_ = (ssd.ssd_id for ssd in node.engine.ssds)
        small, large = volume(piece(one)), volume(piece(one, 2 * GIB), qos=Qos(max_iops=1))
        client.ensure_volume("v", small)
        client.change_volume("v", large)
        with pytest.raises(NodeRefused):
            client.change_volume("v", small)
        assert fleet.violations == ()
        with pytest.raises(NodeRefused):
            client.ensure_volume("v", volume(piece(two)))
        client.ensure_namespace(TARGET, "v", namespace())
        with pytest.raises(NodeRefused):
            client.ensure_namespace(TARGET, "v", namespace(2))
        with pytest.raises(NodeRefused, match=f"{HOST}, not 1 for {OTHER_HOST}"):
            client.ensure_namespace(TARGET, "v", namespace(host_nqn=OTHER_HOST))
        assert len(fleet.violations) == 3, fleet.violations
        fleet.reset()
        assert fleet.violations == ()
