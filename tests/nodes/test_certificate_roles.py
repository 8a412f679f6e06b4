"""The certificates of the pool's CA that agent and provisioner accept from each other."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from inventory.nodes.client import NodeClient, NodeRefused, NodeTransport, NodeUnreachable, Peer
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.nodes.wire import RefusalCode
from provisioner.common.certificate_roles import CertificateRole
from tests.nodes.certificates import KeyPair, TestCa
from tests.nodes.servers import answering, talking

BOTH_PURPOSES = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
NODE, PROVISIONER = CertificateRole.NODE, CertificateRole.PROVISIONER
OTHERS = [role for role in CertificateRole if role is not PROVISIONER]
NO_NODES = [role for role in CertificateRole if role is not NODE]
FIRST_NODE = "02:00:00:00:00:01"


@pytest.fixture(scope="module")
def call_as(ca: TestCa, server_pair: KeyPair) -> Iterator[Callable[[KeyPair], str]]:
    """Call a node that demands certificates, with this certificate. Returns the name of the
    node.
    """
    with SimulatedFleet(
        1,
        certificate=server_pair.certificate,
        key=server_pair.key,
        ca=ca.file,
        require_client_certificate=True,
    ) as fleet:
        [node] = fleet.nodes

        def call(pair: KeyPair) -> str:
            own = (pair.certificate, pair.key)
            transport = NodeTransport(ca_file=ca.file, client_certificate=own)
            return NodeClient(transport, [node.address], node.port).read_node().name

        yield call


@contextmanager
def serving(pair: KeyPair) -> Iterator[tuple[int, list[bytes]]]:
    """Return the port of a server with this certificate, and everything that it receives."""
    heard: list[bytes] = []

    def talk(connection: object) -> None:
        heard.append(connection.recv(65536))  # type: ignore[attr-defined]

    with talking(pair, talk) as port:
        yield port, heard


def test_the_agent_accepts_the_provisioner(ca: TestCa, call_as: Callable[[KeyPair], str]) -> None:
    assert call_as(ca.issue("us", PROVISIONER)) == "node-1"


@pytest.mark.parametrize("role", OTHERS)
@pytest.mark.parametrize("purposes", [BOTH_PURPOSES, ()], ids=["any use", "no use named"])
def test_the_agent_refuses_every_other_role(
    role: CertificateRole,
    purposes: tuple[ObjectIdentifier, ...],
    ca: TestCa,
    call_as: Callable[[KeyPair], str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    pair = ca.issue(f"{role}-{len(purposes)}", role, purposes=purposes)
    with caplog.at_level(logging.WARNING), pytest.raises(NodeRefused) as refused:
        call_as(pair)
    assert refused.value.code is RefusalCode.UNAUTHORIZED
    sentence = f"has role {role}; provisioner is required: issue it again"
    assert sentence in refused.value.message
    assert sentence in caplog.text


@pytest.mark.parametrize("role", OTHERS)
def test_the_agent_refuses_certificates_issued_for_every_other_role(
    role: CertificateRole, ca: TestCa, call_as: Callable[[KeyPair], str]
) -> None:
    with pytest.raises((NodeRefused, NodeUnreachable)):
        call_as(ca.issue(f"own-{role}", role))


def test_the_agent_refuses_a_certificate_without_a_role(
    ca: TestCa, call_as: Callable[[KeyPair], str]
) -> None:
    with pytest.raises(NodeRefused, match="'CN=old' has no role; provisioner is required"):
        call_as(ca.issue("old"))


def test_the_agent_refuses_the_role_without_its_key_usage(
    ca: TestCa, call_as: Callable[[KeyPair], str]
) -> None:
    with pytest.raises(NodeRefused, match="not the extended key usage clientAuth"):
        call_as(ca.issue("useless", PROVISIONER, purposes=()))


def test_the_agent_refuses_two_roles_at_once(ca: TestCa, call_as: Callable[[KeyPair], str]) -> None:
    with pytest.raises(NodeRefused, match="has role node, provisioner"):
        call_as(ca.issue("both", NODE, PROVISIONER))


@pytest.mark.parametrize("role", NO_NODES)
def test_nothing_is_sent_to_a_server_that_is_not_a_node(role: CertificateRole, ca: TestCa) -> None:
    pair = ca.issue(f"server-{role}", role, purposes=BOTH_PURPOSES)
    with serving(pair) as (port, heard), pytest.raises(NodeUnreachable) as failed:
        NodeClient(NodeTransport(ca_file=ca.file, token="t"), ["127.0.0.1"], port).read_node()
    assert f"has role {role}; node is required" in str(failed.value)
    assert b"".join(heard) == b""


def test_nothing_is_sent_to_a_server_without_a_role(ca: TestCa) -> None:
    with serving(ca.issue("old-node")) as (port, heard):
        client = NodeClient(NodeTransport(ca_file=ca.file, token="t"), ["127.0.0.1"], port)
        with pytest.raises(NodeUnreachable, match="'CN=old-node' has no role; node is required"):
            client.read_node()
    assert b"".join(heard) == b""


def test_nothing_is_sent_to_a_node_other_than_the_intended_one(ca: TestCa) -> None:
    pair = ca.issue("first", NODE, node_ids=["node-a", "node-b"])
    transport = NodeTransport(ca_file=ca.file)
    with serving(pair) as (port, heard):
        client = NodeClient(transport, ["127.0.0.1"], port, peer=Peer("node-c"))
        with pytest.raises(NodeUnreachable, match="is of node node-a, node-b, not of node-c"):
            client.read_node()
    assert b"".join(heard) == b""
    with talking(pair, answering(b"HTTP/1.1 503 -\r\nContent-Length: 0\r\n\r\n")) as port:
        client = NodeClient(transport, ["127.0.0.1"], port, peer=Peer("node-b"))
        with pytest.raises(NodeUnreachable, match="HTTP status 503"):
            client.read_node()


def test_a_kept_connection_is_checked_for_each_node(ca: TestCa) -> None:
    pair = ca.issue("one", NODE, node_ids=[FIRST_NODE])
    with SimulatedFleet(1, certificate=pair.certificate, key=pair.key) as fleet:
        [node] = fleet.nodes
        transport = NodeTransport(ca_file=ca.file)
        there = ([node.address], node.port)
        assert NodeClient(transport, *there, peer=Peer(FIRST_NODE)).read_node().name == "node-1"
        with pytest.raises(NodeUnreachable, match="not of other"):
            NodeClient(transport, *there, peer=Peer("other")).read_node()


def test_an_address_that_the_certificate_does_not_name_is_refused(ca: TestCa) -> None:
    pair = ca.issue("addressed", NODE)
    with talking(pair, answering(b""), "127.0.0.9") as port:
        client = NodeClient(NodeTransport(ca_file=ca.file), ["127.0.0.9"], port)
        with pytest.raises(NodeUnreachable, match="IP address mismatch"):
            client.read_node()
