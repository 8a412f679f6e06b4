"""The client against nodes and servers that misbehave."""

import ssl
import time
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import ValidationError

from inventory.nodes import https
from inventory.nodes.client import NodeClient, NodeRefused, NodeTransport, NodeUnreachable
from inventory.nodes.engines.simulated import SimulatedFleet, SimulatedNode
from inventory.nodes.wire import Node, RefusalCode
from provisioner.common.certificate_roles import CertificateRole
from tests.nodes.certificates import TOKEN, KeyPair, TestCa
from tests.nodes.servers import answering, talking
from tests.nodes.specs import TARGET, namespace, piece, volume

NODE, PROVISIONER = CertificateRole.NODE, CertificateRole.PROVISIONER
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def test_down_and_up_again(client: NodeClient, node: SimulatedNode) -> None:
    before = client.read_node()
    node.faults.go_down()
    with pytest.raises(NodeUnreachable, match="refused"):
        client.read_node()
    node.faults.come_up()
    assert client.read_node() == before


def test_late_work_is_fenced(client: NodeClient, node: SimulatedNode, ssds: list[str]) -> None:
    node.faults.slow(300, method="PUT")
    with pytest.raises(NodeUnreachable):
        client.ensure_volume("v", volume(piece(ssds[0])), timeout=0.1)
    client.remove_volume("v", 1)
    time.sleep(0.4)
    assert client.read_volume("v") is None
    assert node.volumes() == {}


def test_late_work_is_done(client: NodeClient, node: SimulatedNode, ssds: list[str]) -> None:
    node.faults.slow(150, method="PUT")
    spec = volume(piece(ssds[0]))
    with pytest.raises(NodeUnreachable):
        client.ensure_volume("v", spec, timeout=0.05)
    assert client.read_volume("v") is None
    time.sleep(0.2)
    assert client.ensure_volume("v", spec) is False


def test_lost_reply_then_repeat(client: NodeClient, node: SimulatedNode, ssds: list[str]) -> None:
    spec = volume(piece(ssds[0]))
    node.faults.lose_reply(times=3)
    with pytest.raises(NodeUnreachable):
        client.ensure_volume("v", spec)
    with pytest.raises(NodeUnreachable):
        client.ensure_namespace(TARGET, "v", namespace())
    with pytest.raises(NodeUnreachable):
        client.remove_namespace(TARGET, "v", 1)
    assert client.ensure_volume("v", spec) is False
    client.remove_namespace(TARGET, "v", 1)
    assert client.list_targets() == ()


@pytest.mark.parametrize(
    "start", [b"", HEAD + b"X-A: ", HEAD + b"Content-Length: 99\r\n\r\n"], ids=str
)
def test_trickling_server(start: bytes, server_pair: KeyPair, transport: NodeTransport) -> None:
    def talk(connection: ssl.SSLSocket) -> None:
        connection.recv(65536)
        for drop in (start, *[b"H"] * 100):
            connection.sendall(drop)
            time.sleep(0.02)

    with talking(server_pair, talk) as port:
        began = time.monotonic()
        with pytest.raises(NodeUnreachable):
            NodeClient(transport, ["127.0.0.1"], port).read_node(timeout=0.2)
        assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
        HEAD + b"Content-Length: 2\r\n\r\n{}",
        HEAD + b"Content-Length: 5\r\n\r\n\xff\xfe[[[",
        HEAD + b"Content-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 None\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_garbage(answer: bytes, server_pair: KeyPair, transport: NodeTransport) -> None:
    with talking(server_pair, answering(answer)) as port:
        client = NodeClient(transport, ["127.0.0.1"], port)
        with pytest.raises(NodeUnreachable):
            client.read_node()
        with pytest.raises(NodeUnreachable):
            client.read_volume("v")


def test_wrong_ca(node: SimulatedNode, tmp_path: Path) -> None:
    stranger = NodeTransport(ca_file=TestCa(tmp_path / "other").file, token=TOKEN)
    with pytest.raises(NodeUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
        NodeClient(stranger, [node.address], node.port).read_node()


@pytest.mark.parametrize("token", ["", "wrong"])
def test_wrong_token(node: SimulatedNode, ca: TestCa, token: str) -> None:
    transport = NodeTransport(ca_file=ca.file, token=token)
    client = NodeClient(transport, [node.address], node.port)
    with pytest.raises(NodeRefused) as caught:
        client.ensure_volume("v", volume(piece("s")))
    assert caught.value.code is RefusalCode.UNAUTHORIZED


def test_client_certificates(ca: TestCa, server_pair: KeyPair, tmp_path: Path) -> None:
    stranger = TestCa(tmp_path / "other").issue("client", PROVISIONER)
    own = ca.issue("client", PROVISIONER)
    with SimulatedFleet(
        1,
        certificate=server_pair.certificate,
        key=server_pair.key,
        ca=ca.file,
        require_client_certificate=True,
    ) as fleet:
        [node] = fleet.nodes
        for pair in (None, (stranger.certificate, stranger.key)):
            transport = NodeTransport(ca_file=ca.file, client_certificate=pair)
            with pytest.raises(NodeUnreachable):
                NodeClient(transport, [node.address], node.port).read_node()
        transport = NodeTransport(ca_file=ca.file, client_certificate=(own.certificate, own.key))
        assert NodeClient(transport, [node.address], node.port).read_node().name == "node-1"


def test_a_new_ca_without_a_gap(ca: TestCa, tmp_path: Path) -> None:
    """As docs/operations.md has it: all trust both, then get new certificates one by one, then
    trust the new one alone. Nobody waits for the other at any step.
    """
    new = TestCa(tmp_path / "new")
    both = tmp_path / "both.pem"
    both.write_bytes(ca.file.read_bytes() + new.file.read_bytes())
    old, new_ = (
        {role: one.issue(f"{role}-pair", role) for role in (NODE, PROVISIONER)} for one in (ca, new)
    )
    steps = [(ca.file, old), (both, old), (both, new_), (new.file, new_)]
    for now, then in pairwise(steps):
        for server, client in ((now, then), (then, now), (then, then)):
            trusted, own = client[0], client[1][PROVISIONER]
            with SimulatedFleet(
                1,
                certificate=server[1][NODE].certificate,
                key=server[1][NODE].key,
                ca=server[0],
                require_client_certificate=True,
            ) as fleet:
                [node] = fleet.nodes
                transport = NodeTransport(
                    ca_file=trusted, client_certificate=(own.certificate, own.key)
                )
                assert NodeClient(transport, [node.address], node.port).read_node().name == "node-1"


def test_addresses_are_tried_in_order(node: SimulatedNode, transport: NodeTransport) -> None:
    addresses = ["127.0.0.2", "::1", node.address]
    assert NodeClient(transport, addresses, node.port).read_node().name == node.name


def test_no_other_address_once_it_may_have_been_sent(
    client: NodeClient, node: SimulatedNode, transport: NodeTransport, ssds: list[str]
) -> None:
    node.faults.lose_reply(method="PUT")
    node.faults.refuse(RefusalCode.UNAVAILABLE, method="PUT", nth=2)
    twice = NodeClient(transport, [node.address, node.address], node.port)
    with pytest.raises(NodeUnreachable):
        twice.ensure_volume("v", volume(piece(ssds[0])))
    assert client.read_volume("v") is not None


@pytest.mark.parametrize("address", ["", "no.such.name.invalid", "a..b", "x" * 300, "a b", "::g"])
def test_unusable_addresses(address: str, node: SimulatedNode, transport: NodeTransport) -> None:
    with pytest.raises(NodeUnreachable):
        NodeClient(transport, [address], node.port).read_node()


def test_unusable_port(transport: NodeTransport) -> None:
    with pytest.raises(NodeUnreachable):
        NodeClient(transport, ["127.0.0.1"], 70_000).read_node()


def test_unusable_token(ca: TestCa) -> None:
    with pytest.raises(ValueError, match="token"):
        NodeTransport(ca_file=ca.file, token="a\n")


def test_no_address(transport: NodeTransport) -> None:
    with pytest.raises(NodeUnreachable, match="no address"):
        NodeClient(transport, [], 443).read_node()


def test_ipv6(ca: TestCa, server_pair: KeyPair) -> None:
    with SimulatedFleet(
        1, certificate=server_pair.certificate, key=server_pair.key, address="::1"
    ) as fleet:
        seen: list[str] = []
        transport = NodeTransport(
            ca_file=ca.file, observers=[lambda address, *_: seen.append(address)]
        )
        [node] = fleet.nodes
        assert NodeClient(transport, ["::1"], node.port).read_node().portals[0].ip == "::1"
        assert seen == [f"[::1]:{node.port}"]


def test_observers(ca: TestCa, node: SimulatedNode) -> None:
    seen: list[tuple[object, ...]] = []

    def broken(*_: object) -> None:
        raise ValueError

    transport = NodeTransport(ca_file=ca.file, token=TOKEN, observers=[broken])
    transport.observers.append(lambda *call: seen.append(call))
    client = NodeClient(transport, [node.address], node.port)
    client.read_volume("v")
    client.remove_volume("v", 1)
    node.faults.go_down()
    with pytest.raises(NodeUnreachable):
        client.remove_namespace(TARGET, "v", 1)
    label = f"127.0.0.1:{node.port}"
    assert [call[:4] for call in seen] == [
        (label, "GET", "/v1/volumes/{uuid}", "NOT_FOUND"),
        (label, "DELETE", "/v1/volumes/{uuid}", "OK"),
        (label, "DELETE", "/v1/targets/{nqn}/namespaces/{uuid}", "UNREACHABLE"),
    ]
    assert all(isinstance(call[4], float) and 0 < call[4] < 2 for call in seen)


def test_names_are_quoted(client: NodeClient, ssds: list[str]) -> None:
    nqn = "nqn.2022-08.com.kioxia:a/b?c=d %e#é"
    client.ensure_volume("v", volume(piece(ssds[0])))
    client.ensure_namespace(nqn, "v", namespace())
    assert [target.nqn for target in client.list_targets()] == [nqn]
    assert client.read_target(nqn) is not None
    client.remove_namespace(nqn, "v", 1)
    assert client.list_targets() == ()


@pytest.mark.parametrize(("idle_seconds", "expected"), [(30, 1), (0, 3)])
def test_connections_are_kept_but_not_for_long(
    server_pair: KeyPair,
    transport: NodeTransport,
    monkeypatch: pytest.MonkeyPatch,
    *,
    idle_seconds: float,
    expected: int,
) -> None:
    connections = []

    def talk(connection: ssl.SSLSocket) -> None:
        connections.append(connection)
        while connection.recv(65536):
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    monkeypatch.setattr(https, "IDLE_SECONDS", idle_seconds)
    with talking(server_pair, talk) as port:
        client = NodeClient(transport, ["127.0.0.1"], port)
        for _ in range(3):
            client.remove_volume("v", 1)
        transport.close()
    assert len(connections) == expected


def test_connection_that_the_node_closed_is_not_used_again(
    client: NodeClient, node: SimulatedNode
) -> None:
    for _ in range(20):
        client.read_node()
        node.faults.go_down()
        node.faults.come_up()
    client.read_node()


@pytest.mark.parametrize(("read", "most"), [("read_volume", 2**18), ("list_volumes", 2**23)])
def test_an_answer_of_more_than_the_call_needs_is_given_up(
    read: str, most: int, server_pair: KeyPair, transport: NodeTransport
) -> None:
    """A hostile node fills no worker's memory: reading ends at the bound."""
    sent = [0]

    def talk(connection: ssl.SSLSocket) -> None:
        connection.recv(65536)
        connection.sendall(HEAD + b"Content-Length: 1000000000\r\n\r\n")
        for _ in range(4096):
            sent[0] += connection.send(b" " * 2**16)

    with talking(server_pair, talk) as port:
        client = NodeClient(transport, ["127.0.0.1"], port)
        with pytest.raises(NodeUnreachable, match=f"more than {most} bytes"):
            getattr(client, read)(*(["v"] if read == "read_volume" else []))
    assert sent[0] < most + 32 * 2**20


@pytest.mark.parametrize(
    "changes",
    [
        {"totalBw": 2**62},
        {"totalIops": 2**62},
        {"ssds": [{"ssdId": "s", "name": "s", "capacity": 2**62, "free": 0}]},
        {"ssds": [{"ssdId": "s", "name": "s", "capacity": 1, "free": 2**62}]},
        {"ssds": [{"ssdId": f"{n}", "name": "s", "capacity": 1, "free": 1} for n in range(257)]},
        {"bootId": "b" * 256},
        {"portals": [{"ip": "1" * 256, "port": 1}]},
    ],
)
def test_numbers_above_all_hardware_are_no_answer(
    client: NodeClient, changes: dict[str, object]
) -> None:
    """Else one node that lies makes sums over the pool that no client can hold."""
    honest = client.read_node().model_dump(mode="json")
    Node.model_validate(honest)
    with pytest.raises(ValidationError):
        Node.model_validate(honest | changes)
