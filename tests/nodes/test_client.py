"""The client against misbehaving nodes and servers."""

import socket
import ssl
import struct
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import ValidationError

from inventory.nodes import https
from inventory.nodes.client import NodeClient, NodeRefused, NodeTransport, NodeUnreachable
from inventory.nodes.engines.simulated import SimulatedFleet, SimulatedNode
from inventory.nodes.wire import Node, Refusal, RefusalCode
from provisioner.common.certificate_roles import CertificateRole
from tests.nodes.certificates import TOKEN, KeyPair, TestCa
from tests.nodes.servers import answering, talking
from tests.nodes.specs import TARGET, namespace, piece, volume

NODE, PROVISIONER = CertificateRole.NODE, CertificateRole.PROVISIONER
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def test_a_node_that_is_down_is_unreachable_until_it_is_up(
    client: NodeClient, node: SimulatedNode
) -> None:
    before = client.read_node()
    node.faults.go_down()
    with pytest.raises(NodeUnreachable, match="refused"):
        client.read_node()
    node.faults.come_up()
    assert client.read_node() == before


def test_a_late_create_is_fenced_by_a_removal(
    client: NodeClient, node: SimulatedNode, ssds: list[str]
) -> None:
    node.faults.slow(300, method="PUT")
    with pytest.raises(NodeUnreachable):
        client.ensure_volume("v", volume(piece(ssds[0])), timeout=0.1)
    client.remove_volume("v", 1)
    node.finish_calls()
    assert client.read_volume("v") is None
    assert node.volumes() == {}


def test_a_late_create_is_found_by_its_repeat(
    client: NodeClient, node: SimulatedNode, ssds: list[str]
) -> None:
    node.faults.slow(150, method="PUT")
    spec = volume(piece(ssds[0]))
    with pytest.raises(NodeUnreachable):
        client.ensure_volume("v", spec, timeout=0.05)
    assert client.read_volume("v") is None
    node.finish_calls()
    assert client.ensure_volume("v", spec) is False


def test_a_repeat_after_a_lost_reply_converges(
    client: NodeClient, node: SimulatedNode, ssds: list[str]
) -> None:
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


def test_a_lost_connection_is_named_without_its_number(transport: NodeTransport) -> None:
    """A forwarded port resets connections while nothing listens behind it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reset() -> None:
            connection, _ = server.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

        thread = threading.Thread(target=reset)
        thread.start()
        port = server.getsockname()[1]
        with pytest.raises(NodeUnreachable, match=r": 127\.0\.0\.1: Connection reset by peer$"):
            NodeClient(transport, ["127.0.0.1"], port).read_node()
        thread.join()


@pytest.mark.parametrize(
    "start", [b"", HEAD + b"X-A: ", HEAD + b"Content-Length: 99\r\n\r\n"], ids=str
)
def test_a_server_that_sends_byte_by_byte_cannot_exceed_the_timeout(
    start: bytes, server_pair: KeyPair, transport: NodeTransport
) -> None:
    def talk(connection: ssl.SSLSocket) -> None:
        connection.recv(65536)
        for drop in (start, *[b"H"] * 1000):
            connection.sendall(drop)
            time.sleep(0.02)

    with talking(server_pair, talk) as port:
        began = time.monotonic()
        with pytest.raises(NodeUnreachable):
            NodeClient(transport, ["127.0.0.1"], port).read_node(timeout=0.2)
        assert time.monotonic() - began < 10


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
def test_an_unusable_answer_counts_as_unreachable(
    answer: bytes, server_pair: KeyPair, transport: NodeTransport
) -> None:
    with talking(server_pair, answering(answer)) as port:
        client = NodeClient(transport, ["127.0.0.1"], port)
        with pytest.raises(NodeUnreachable):
            client.read_node()
        with pytest.raises(NodeUnreachable):
            client.read_volume("v")


def test_a_node_of_another_ca_is_unreachable(node: SimulatedNode, tmp_path: Path) -> None:
    stranger = NodeTransport(ca_file=TestCa(tmp_path / "other").file, token=TOKEN)
    with pytest.raises(NodeUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
        NodeClient(stranger, [node.address], node.port).read_node()


@pytest.mark.parametrize("token", ["", "wrong"])
def test_a_wrong_token_is_refused(node: SimulatedNode, ca: TestCa, token: str) -> None:
    transport = NodeTransport(ca_file=ca.file, token=token)
    client = NodeClient(transport, [node.address], node.port)
    with pytest.raises(NodeRefused) as caught:
        client.ensure_volume("v", volume(piece("s")))
    assert caught.value.code is RefusalCode.UNAUTHORIZED


def test_a_node_accepts_only_client_certificates_of_its_ca(
    ca: TestCa, server_pair: KeyPair, tmp_path: Path
) -> None:
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


def test_a_ca_is_replaced_without_an_outage(ca: TestCa, tmp_path: Path) -> None:
    """These are the steps of docs/how-to/tls.md: all trust both CAs, then they get new certificates
    one by one, then they trust only the new CA. The order within a step does not matter.
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


def test_no_other_address_is_tried_once_a_request_may_have_been_sent(
    client: NodeClient, node: SimulatedNode, transport: NodeTransport, ssds: list[str]
) -> None:
    node.faults.lose_reply(method="PUT")
    node.faults.refuse(RefusalCode.UNAVAILABLE, method="PUT", nth=2)
    twice = NodeClient(transport, [node.address, node.address], node.port)
    with pytest.raises(NodeUnreachable):
        twice.ensure_volume("v", volume(piece(ssds[0])))
    assert client.read_volume("v") is not None


@pytest.mark.parametrize("address", ["", "no.such.name.invalid", "a..b", "x" * 300, "a b", "::g"])
def test_an_unusable_address_counts_as_unreachable(
    address: str, node: SimulatedNode, transport: NodeTransport
) -> None:
    with pytest.raises(NodeUnreachable):
        NodeClient(transport, [address], node.port).read_node()


def test_an_unusable_port_counts_as_unreachable(transport: NodeTransport) -> None:
    with pytest.raises(NodeUnreachable):
        NodeClient(transport, ["127.0.0.1"], 70_000).read_node()


def test_a_token_that_no_header_can_carry_is_refused(ca: TestCa) -> None:
    with pytest.raises(ValueError, match="token"):
        NodeTransport(ca_file=ca.file, token="a\n")


def test_a_client_without_an_address_is_unreachable(transport: NodeTransport) -> None:
    with pytest.raises(NodeUnreachable, match="no address"):
        NodeClient(transport, [], 443).read_node()


def test_ipv6_addresses_work(ca: TestCa, server_pair: KeyPair) -> None:
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


def test_observers_see_each_call_even_if_one_fails(ca: TestCa, node: SimulatedNode) -> None:
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
def test_connections_are_kept_for_a_limited_idle_time(
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


def test_a_connection_closed_by_the_node_is_not_reused(
    client: NodeClient, node: SimulatedNode
) -> None:
    read = []
    for _ in range(20):
        read.append(client.read_node().persistent_id)
        node.faults.go_down()
        node.faults.come_up()
    assert read == [node.persistent_id] * 20
    assert client.read_node().persistent_id == node.persistent_id


@pytest.mark.parametrize(("read", "most"), [("read_volume", 2**18), ("list_volumes", 2**23)])
def test_an_answer_above_the_limit_is_not_read_further(
    read: str, most: int, server_pair: KeyPair, transport: NodeTransport
) -> None:
    """So a malicious node cannot fill the memory of a worker."""
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


def test_an_answer_with_a_text_that_cannot_be_stored_is_invalid(
    node: SimulatedNode, server_pair: KeyPair, transport: NodeTransport, client: NodeClient
) -> None:
    """PostgreSQL stores no NUL."""
    named = client.read_node().model_copy(update={"name": "a\0b"})
    refused = Refusal(code=RefusalCode.UNAVAILABLE, message="a\0b")
    for status, said in ((b"200 OK", named), (b"409 Conflict", refused)):
        body = said.model_dump_json(by_alias=True).encode()
        head = HEAD.replace(b"200 OK", status)
        answer = head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        with talking(server_pair, answering(answer)) as port:
            other = NodeClient(transport, ["127.0.0.1"], port)
            with pytest.raises(NodeUnreachable, match="contains the character NUL"):
                other.read_node()


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
def test_implausible_numbers_make_an_answer_invalid(
    client: NodeClient, changes: dict[str, object]
) -> None:
    """Otherwise one node with wrong numbers could make sums over the pool too large for clients."""
    honest = client.read_node().model_dump(mode="json")
    Node.model_validate(honest)
    with pytest.raises(ValidationError):
        Node.model_validate(honest | changes)
