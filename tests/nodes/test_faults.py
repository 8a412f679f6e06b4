"""Faults of simulated nodes, set from Python and over HTTP."""

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import urllib3

from inventory.nodes.client import NodeClient, NodeRefused, NodeUnreachable
from inventory.nodes.engines.simulated import Fault, FaultKind, Faults, SimulatedNode
from inventory.nodes.wire import RefusalCode, SyncState
from tests.nodes.certificates import TOKEN, TestCa
from tests.nodes.specs import HOST, TARGET, ended, namespace, open_copy, piece, volume
from tests.waiting import eventually


def test_a_fault_affects_the_nth_matching_call(client: NodeClient, node: SimulatedNode) -> None:
    node.faults.refuse(RefusalCode.CONFLICT, nth=3, times=2, path="/v1/node")
    client.list_volumes()
    outcomes = []
    for _ in range(5):
        try:
            client.read_node()
        except NodeRefused as refusal:
            outcomes.append(refusal.code.value)
        else:
            outcomes.append("")
    assert outcomes == ["", "", "CONFLICT", "CONFLICT", ""]


def test_faults_add_up_until_they_are_cleared(client: NodeClient, node: SimulatedNode) -> None:
    node.faults.slow(30, times=0)
    node.faults.refuse(RefusalCode.IN_USE, times=0, method="DELETE")
    began = time.monotonic()
    with pytest.raises(NodeRefused):
        client.remove_volume("v", 1)
    client.read_node()
    assert time.monotonic() - began > 0.06
    node.faults.clear()
    client.remove_volume("v", 1)
    assert node.faults.get() == Faults()


def test_a_lost_request_changes_nothing(
    client: NodeClient, node: SimulatedNode, ssds: list[str]
) -> None:
    node.faults.lose_request(method="PUT")
    node.faults.fail(method="PUT", nth=2)
    for _ in range(2):
        with pytest.raises(NodeUnreachable):
            client.ensure_volume("v", volume(piece(ssds[0])))
    assert node.volumes() == {}
    assert client.ensure_volume("v", volume(piece(ssds[0]))) is True


def test_faults_affect_calls_for_copies(
    client: NodeClient, peer: NodeClient, node: SimulatedNode, ssds: list[str]
) -> None:
    client.ensure_volume("v", volume(piece(ssds[0])))
    spec = open_copy(peer)
    path = "/v1/volumes/v/sync"
    node.faults.refuse(RefusalCode.UNAVAILABLE, path=path, method="PUT")
    with pytest.raises(NodeRefused):
        client.ensure_sync("v", spec)
    node.faults.lose_request(path=path, method="PUT")
    with pytest.raises(NodeUnreachable):
        client.ensure_sync("v", spec)
    assert client.read_sync("v") is None
    node.faults.lose_reply(path=path, method="PUT")
    with pytest.raises(NodeUnreachable):
        client.ensure_sync("v", spec)
    assert client.ensure_sync("v", spec) is False
    ended(client, "v", SyncState.DONE)
    node.faults.lose_reply(path=path, method="DELETE")
    with pytest.raises(NodeUnreachable):
        client.remove_sync("v", 3)
    assert client.read_sync("v") is None


def test_a_full_node_refuses_new_volumes(
    client: NodeClient, node: SimulatedNode, ssds: list[str]
) -> None:
    client.ensure_volume("v", volume(piece(ssds[0])))
    node.faults.fill_up()
    assert all(ssd.free == 0 for ssd in client.read_node().ssds)
    assert client.ensure_volume("v", volume(piece(ssds[0]))) is False
    with pytest.raises(NodeRefused) as caught:
        client.ensure_volume("w", volume(piece(ssds[0])))
    assert caught.value.code is RefusalCode.NO_SPACE
    node.faults.fill_up(False)
    assert client.ensure_volume("w", volume(piece(ssds[0]))) is True


def test_a_node_comes_up_after_its_down_time(client: NodeClient, node: SimulatedNode) -> None:
    node.faults.go_down(0.1)
    with pytest.raises(NodeUnreachable):
        client.read_node()

    def is_up() -> bool:
        with suppress(NodeUnreachable):
            return bool(client.read_node())
        return False

    eventually(is_up, seconds=10, what=node.faults.get)
    assert node.faults.get() == Faults()


def test_going_down_aborts_running_calls(client: NodeClient, node: SimulatedNode) -> None:
    node.faults.slow(60_000, path="/v1/volumes")
    with pytest.raises(NodeUnreachable):
        client.list_volumes(timeout=0.05)
    node.faults.go_down()
    node.faults.come_up()
    assert client.list_volumes() == ()


class Admin:
    """Calls the administration paths, as an operator would."""

    def __init__(self, node: SimulatedNode, ca: TestCa) -> None:
        self._base = f"https://{node.address}:{node.port}"
        self._http = urllib3.PoolManager(
            ssl_context=ssl.create_default_context(cafile=ca.file), retries=False, timeout=5
        )

    def __call__(self, method: str, path: str, body: Any = None, token: str = TOKEN) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        answer = self._http.request(
            method, self._base + path, body=json.dumps(body), headers=headers
        )
        return answer.status, json.loads(answer.data) if answer.data else None

    def close(self) -> None:
        self._http.clear()


@pytest.fixture
def admin(node: SimulatedNode, ca: TestCa) -> Iterator[Admin]:
    admin = Admin(node, ca)
    yield admin
    admin.close()


def test_faults_can_be_set_over_http(admin: Admin, client: NodeClient, node: SimulatedNode) -> None:
    fault = {"kind": "REFUSE", "code": "NO_SPACE", "times": 0}
    assert admin("PUT", "/sim/faults", {"calls": [fault]}) == (200, None)
    with pytest.raises(NodeRefused):
        client.read_node()
    expected = Fault(kind=FaultKind.REFUSE, code=RefusalCode.NO_SPACE, times=0)
    assert node.faults.get() == Faults(calls=(expected,))
    status, shown = admin("GET", "/sim/faults")
    assert (status, shown["calls"][0]["code"]) == (200, "NO_SPACE")
    assert admin("DELETE", "/sim/faults") == (204, None)
    client.read_node()
    assert admin("PUT", "/sim/faults", {"calls": [{"kind": "NONE"}]})[0] == 400
    assert admin("GET", "/sim/faults", token="no")[0] == 401


def test_restart_hosts_and_violations_can_be_used_over_http(
    admin: Admin, client: NodeClient, ssds: list[str]
) -> None:
    boot_id = client.read_node().boot_id
    assert admin("POST", "/sim/restart") == (204, None)
    assert client.read_node().boot_id != boot_id
    client.ensure_volume("v", volume(piece(ssds[0])))
    client.ensure_namespace(TARGET, "v", namespace())
    assert admin("PUT", f"/sim/hosts/{TARGET}", {"hosts": [HOST]}) == (200, None)
    [target] = client.list_targets()
    assert target.connected_hosts == (HOST,)
    assert admin("GET", "/sim/violations") == (200, {"violations": []})


def test_copies_and_marks_can_be_used_over_http(
    admin: Admin, client: NodeClient, ssds: list[str]
) -> None:
    assert admin("PUT", "/sim/copies", {"bytesPerSecond": 5}) == (200, None)
    assert admin("GET", "/sim/copies") == (200, {"bytesPerSecond": 5})
    assert admin("PUT", "/sim/copies", {"bytesPerSecond": -1})[0] == 400
    client.ensure_volume("v", volume(piece(ssds[0])))
    assert admin("GET", "/sim/volumes/v/mark") == (200, {"mark": ""})
    assert admin("PUT", "/sim/volumes/v/mark", {"mark": "data"}) == (200, None)
    assert admin("GET", "/sim/volumes/v/mark") == (200, {"mark": "data"})
    assert admin("GET", "/sim/volumes/none/mark")[0] == 404
    assert admin("PUT", "/sim/volumes/none/mark", {"mark": "data"})[0] == 404
