"""Parallel calls to nodes."""

import threading
import time

import pytest

from inventory.nodes.client import NodeClient, NodeRefused, NodeTransport, NodeUnreachable, call_all
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.nodes.parallel_calls import PARALLEL_CALLS
from inventory.nodes.wire import RefusalCode


def test_each_call_has_its_own_outcome(fleet: SimulatedFleet, transport: NodeTransport) -> None:
    clients = {node.name: NodeClient(transport, [node.address], node.port) for node in fleet.nodes}
    fleet.nodes[0].faults.refuse(RefusalCode.NO_SPACE)
    fleet.nodes[1].faults.go_down()
    outcomes = call_all(
        {name: client.read_node for name, client in clients.items()}, timeout_seconds=5
    )
    assert list(outcomes) == ["node-1", "node-2", "node-3"]
    refused, unreachable, read = outcomes.values()
    assert isinstance(refused, NodeRefused)
    assert refused.code is RefusalCode.NO_SPACE
    assert isinstance(unreachable, NodeUnreachable)
    assert read == clients["node-3"].read_node()


def test_call_all_never_exceeds_its_timeout() -> None:
    go_on = threading.Event()
    made = []

    def wait() -> None:
        made.append(1)
        go_on.wait()

    calls = dict.fromkeys(range(2 * PARALLEL_CALLS), wait)
    began = time.monotonic()
    outcomes = call_all(calls, timeout_seconds=0.1)
    assert time.monotonic() - began < 10
    go_on.set()
    assert all(isinstance(outcome, NodeUnreachable) for outcome in outcomes.values())
    assert call_all({"after": lambda: 7}, timeout_seconds=1) == {"after": 7}
    assert len(made) == PARALLEL_CALLS


def test_other_exceptions_are_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        call_all({"bug": lambda: 1 // 0}, timeout_seconds=1)


def test_no_calls_give_no_outcomes() -> None:
    assert call_all({}, timeout_seconds=1) == {}
