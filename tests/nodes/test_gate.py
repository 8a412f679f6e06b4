"""A hanging node blocks only a few threads, and calls that were never sent to a node are not its
fault.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from inventory.nodes import gate
from inventory.nodes.client import NodeClient, NodeTransport, NodeUnreachable, call_all
from inventory.nodes.engines.simulated import SimulatedNode
from inventory.nodes.gate import CALLS_PER_NODE, NodeGate
from inventory.nodes.parallel_calls import PARALLEL_CALLS, PARALLEL_CALLS_PER_NODE
from provisioner.environment import Environment


@pytest.fixture
def hanging() -> Iterator[int]:
    """Return the port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as server:
        yield server.getsockname()[1]


@contextlib.contextmanager
def under_way(node_gate: NodeGate, name: str, calls: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(calls):
            stack.enter_context(node_gate.call(name, 10))
        yield


def left_unanswered(node_gate: NodeGate, name: str) -> None:
    with pytest.raises(NodeUnreachable), node_gate.call(name, 10):
        raise NodeUnreachable("no answer")


def test_concurrent_calls_to_one_node_are_limited() -> None:
    node_gate = NodeGate()
    with under_way(node_gate, "a", CALLS_PER_NODE):
        with pytest.raises(NodeUnreachable, match=r"the node is slow; calls .*: 12") as refused:
            node_gate._enter("a", 0)
        assert not refused.value.is_fault
        with node_gate.call("b", 10):
            pass
    with under_way(node_gate, "a", CALLS_PER_NODE):
        pass


def test_a_further_call_waits_for_one_to_end() -> None:
    node_gate = NodeGate()
    entered = threading.Event()

    def further() -> None:
        node = node_gate._enter("a", 10)
        entered.set()
        node_gate._leave("a", node, silent=False)

    with ThreadPoolExecutor() as threads:
        with under_way(node_gate, "a", CALLS_PER_NODE):
            done = threads.submit(further)
            assert not entered.is_set()
        done.result(10)


def test_calls_to_one_node_leave_turns_for_requests_that_do_not_need_it() -> None:
    turns: int = Environment.model_fields["api_threads"].default
    assert turns // 4 <= turns - CALLS_PER_NODE


def test_calls_wait_while_a_busy_node_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them together take longer than a node may take to answer something."""
    monkeypatch.setattr(gate, "CALLS_PER_NODE", 2)
    monkeypatch.setattr(gate, "SLOW_SECONDS", 2.0)
    node_gate = NodeGate()

    def call(_: int) -> None:
        with node_gate.call("a", 10):
            time.sleep(0.2)

    began = time.monotonic()
    with ThreadPoolExecutor(24) as threads:
        list(threads.map(call, range(24)))
    assert time.monotonic() - began > 2.2


def test_calls_to_a_node_that_answers_nothing_are_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They wait only in the first seconds, when the node may be busy."""
    monkeypatch.setattr(gate, "SLOW_SECONDS", 3.0)
    node_gate = NodeGate()
    waits = []
    with under_way(node_gate, "a", CALLS_PER_NODE):
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(NodeUnreachable, match="is slow"), node_gate.call("a", 10):
                pass
            waits.append(time.monotonic() - began)
    assert 1 < waits[0] < 15
    assert max(waits[1:]) < 1


def test_a_silent_node_gets_one_call_at_a_time_until_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gate, "SILENT_SECONDS", 0.0)
    node_gate = NodeGate()
    left_unanswered(node_gate, "a")
    with under_way(node_gate, "a", 1), pytest.raises(NodeUnreachable, match="answer its last call"):
        node_gate._enter("a", 0)
    with under_way(node_gate, "a", CALLS_PER_NODE):
        pass


def test_a_node_that_refuses_connections_is_not_silent() -> None:
    node_gate = NodeGate()
    left_unanswered(node_gate, "a")
    with under_way(node_gate, "a", CALLS_PER_NODE):
        pass
    assert node_gate._nodes == {}


def test_a_hanging_node_leaves_threads_for_calls_to_others(
    hanging: int, transport: NodeTransport, node: SimulatedNode
) -> None:
    """The test makes twice as many calls to it as there are threads, and then one call to another
    node.
    """
    dead = NodeClient(transport, ["127.0.0.1"], hanging)
    alive = NodeClient(transport, [node.address], node.port)
    number = 2 * PARALLEL_CALLS
    calls = {n: lambda: dead.read_node(timeout=5) for n in range(number)}
    both = calls | {number: alive.read_node}
    nodes = dict.fromkeys(calls, "dead") | {number: "alive"}
    outcomes = call_all(both, timeout_seconds=1.5, nodes=nodes)
    assert outcomes[number] == alive.read_node()
    silent = [outcomes[n] for n in calls]
    assert all(isinstance(outcome, NodeUnreachable) for outcome in silent)
    asked = [o for o in silent if isinstance(o, NodeUnreachable) and o.is_fault]
    assert len(asked) == PARALLEL_CALLS_PER_NODE


def test_a_call_without_time_is_not_a_fault_of_the_node(
    hanging: int, transport: NodeTransport
) -> None:
    dead = NodeClient(transport, ["127.0.0.1"], hanging)
    with pytest.raises(NodeUnreachable) as brief:
        dead.read_node(timeout=0.05)
    assert not brief.value.is_fault
    with pytest.raises(NodeUnreachable) as long:
        dead.read_node(timeout=gate.SILENT_SECONDS + 0.2)
    assert long.value.is_fault
