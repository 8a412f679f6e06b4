"""Simulated nodes report when a Linux host would refuse their targets."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from inventory.nodes.client import NodeClient
from inventory.nodes.engines.base import NOTICE_SECONDS, TargetState
from inventory.nodes.engines.simulated import SimulatedFleet, SimulatedNode
from inventory.nodes.target_ids import ControllerIds
from tests.nodes.specs import HOST, OTHER_HOST, TARGET, namespace, piece, volume
from tests.waiting import eventually

WAIT_SECONDS = 20.0
ONE, TWO = ControllerIds(first=64, last=127), ControllerIds(first=128, last=191)
STATE = TargetState(TARGET, HOST, {1: "a"}, controllers=ONE)
OTHER = TargetState(TARGET, HOST, {2: "b"}, controllers=TWO)


def await_true(condition: Callable[[], bool]) -> float:
    """Wait for the condition. Returns the seconds."""
    began = time.monotonic()
    eventually(condition, seconds=WAIT_SECONDS, what="the condition", pause=0.01)
    return time.monotonic() - began


def names(node: SimulatedNode) -> tuple[str, ...]:
    """Return the subsystems of the engine, including those that will be removed soon."""
    return node.run(node.engine.target_names())


@pytest.fixture
def published(client: NodeClient, ssds: list[str]) -> str:
    client.ensure_volume("v", volume(piece(ssds[0])))
    client.ensure_namespace(TARGET, "v", namespace(5))
    return "v"


def test_an_empty_target_is_removed_after_its_hosts_noticed(
    client: NodeClient, node: SimulatedNode, published: str
) -> None:
    client.remove_namespace(TARGET, published, 1)
    assert (client.list_targets(), names(node)) == ((), (TARGET,))
    client.remove_volume(published, 2)
    assert client.read_drift() == ()
    assert await_true(lambda: names(node) == ()) > NOTICE_SECONDS / 2


def test_a_new_export_keeps_the_emptied_target(
    client: NodeClient, node: SimulatedNode, published: str
) -> None:
    node.set_connected_hosts(TARGET, [HOST])
    client.remove_namespace(TARGET, published, 1)
    client.ensure_namespace(TARGET, published, namespace(5, generation=2))
    client.remove_namespace(TARGET, published, 2)
    client.ensure_namespace(TARGET, published, namespace(5, generation=3))
    await_true(lambda: not node.run(_emptied(node)))
    [target] = client.list_targets()
    assert target.connected_hosts == (HOST,), "it is the same subsystem"


async def _emptied(node: SimulatedNode) -> bool:
    return node.agent.targets.known != {TARGET}


def test_controller_ids_change_only_without_a_connected_host(
    client: NodeClient, node: SimulatedNode, published: str
) -> None:
    node.set_connected_hosts(TARGET, [HOST])
    numbered = namespace(5, controllers=ONE)
    before = client.list_targets()
    client.ensure_namespace(TARGET, published, numbered)
    assert client.list_targets() == before
    node.set_connected_hosts(TARGET, [])
    client.ensure_namespace(TARGET, published, numbered)
    [target] = client.list_targets()
    assert target.controllers == ONE


@pytest.fixture
def nodes(fleet: SimulatedFleet) -> Iterator[tuple[SimulatedNode, SimulatedNode]]:
    """Two nodes with the volumes a, b and c. The test calls their engines without an agent, and
    checks the violations itself.
    """
    for node in fleet.nodes[:2]:
        for name in "abc":
            node.run(node.engine.create_volume(name, volume(piece(node.engine.ssds[0].ssd_id))))
    yield fleet.nodes[0], fleet.nodes[1]
    fleet.reset()


def test_consistent_targets_on_two_nodes_are_no_violation(
    nodes: tuple[SimulatedNode, SimulatedNode],
) -> None:
    first, second = nodes
    first.run(first.engine.apply_target(STATE))
    second.run(second.engine.apply_target(OTHER))
    more = replace(STATE, namespaces={1: "a", 3: "c"})
    first.run(first.engine.apply_target(more))
    first.run(first.engine.apply_target(replace(STATE, host_nqn=OTHER_HOST)))
    assert (first.violations, second.violations) == ((), ())


@pytest.mark.parametrize(
    ("other", "fault"),
    [
        (replace(OTHER, controllers=ONE), "Duplicate cntlid 64"),
        (replace(OTHER, controllers=None), None),
        (replace(OTHER, namespaces={1: "b"}), "IDs don't match for shared namespace 1"),
        (replace(OTHER, namespaces={2: "a"}), "duplicate IDs in subsystem"),
        (replace(OTHER, namespaces={1: "a"}), "two copies taken for one: nsid 1"),
    ],
)
def test_contradicting_targets_on_two_nodes_are_violations(
    nodes: tuple[SimulatedNode, SimulatedNode], other: TargetState, fault: str | None
) -> None:
    first, second = nodes
    first.run(first.engine.apply_target(STATE))
    second.run(second.engine.apply_target(other))
    assert [text.startswith(str(fault)) for text in second.violations[:1]] == [True] * bool(fault)


def test_two_nodes_without_controller_ranges_are_a_violation(
    nodes: tuple[SimulatedNode, SimulatedNode],
) -> None:
    first, second = nodes
    first.run(first.engine.apply_target(replace(STATE, controllers=None)))
    second.run(second.engine.apply_target(replace(OTHER, controllers=None)))
    [fault] = second.violations
    assert fault.startswith("Duplicate cntlid 1, ")


def test_a_namespace_id_that_is_reused_too_soon_is_a_violation(
    nodes: tuple[SimulatedNode, SimulatedNode],
) -> None:
    first, _ = nodes
    for namespaces in ({1: "a"}, {}, {1: "b"}):
        first.run(first.engine.apply_target(replace(STATE, namespaces=namespaces)))
    [fault] = first.violations
    assert fault.startswith("identifiers changed for nsid 1")


def test_removing_a_target_without_notice_is_a_violation(
    nodes: tuple[SimulatedNode, SimulatedNode],
) -> None:
    first, _ = nodes
    first.run(first.engine.apply_target(STATE))
    first.run(first.engine.remove_target(TARGET))
    first.run(first.engine.apply_target(STATE))
    first.run(first.engine.empty_target(TARGET))
    first.run(first.engine.remove_target(TARGET))
    assert [text.startswith("I/O hangs") for text in first.violations] == [True, True]
