"""Probes with tokens that the node gets from an authorization server."""

import time
from collections.abc import Iterator

import jwt
import pytest

from inventory.nodes.client import NodeClient
from inventory.nodes.engines.simulated import SimulatedNode
from inventory.nodes.wire import AuthorizationServer, ProvisionerSettings
from tests.nodes.certificates import KeyPair, TestCa
from tests.nodes.servers import ProbeReceiver
from tests.oidc.token_server import NODES, SECRETS, Reply, TokenServer
from tests.waiting import eventually


@pytest.fixture
def receiver(server_pair: KeyPair) -> Iterator[ProbeReceiver]:
    receiver = ProbeReceiver(server_pair)
    yield receiver
    receiver.close()


@pytest.fixture
def server(server_pair: KeyPair) -> Iterator[TokenServer]:
    server = TokenServer((server_pair.certificate, server_pair.key))
    yield server
    server.close()


@pytest.fixture
def settings(receiver: ProbeReceiver, server: TokenServer, ca: TestCa) -> ProvisionerSettings:
    pem = ca.file.read_text()
    return ProvisionerSettings(
        name="pool",
        url=receiver.url,
        push_interval=3600,
        in_use=True,
        token="local-token",
        ca_certificate=pem,
        authorization_server=AuthorizationServer(
            token_url=f"{server.url}/token",
            client_id=NODES,
            client_secret=SECRETS[NODES],
            resource_id="nodes-resource",
            scope="provisioner/openid",
            ca_certificate=pem,
        ),
    )


def bearer_of(receiver: ProbeReceiver) -> str:
    return receiver.probes.get(timeout=8)[0].removeprefix("/probe Bearer ")


def test_a_token_is_fetched_once_and_kept(
    client: NodeClient,
    node: SimulatedNode,
    server: TokenServer,
    receiver: ProbeReceiver,
    settings: ProvisionerSettings,
) -> None:
    receiver.reply["provisioner"] = settings.model_dump(mode="json", exclude={"token"})
    client.put_provisioner(settings)
    call, probe = receiver.probes.get(timeout=5)
    token = call.removeprefix("/probe Bearer ")
    assert jwt.decode(token, options={"verify_signature": False})["azp"] == NODES
    assert probe["authenticationMode"] == "OPEN_IDC"
    assert SECRETS[NODES] not in str(probe)
    assert server.asked == [
        {
            "grant_type": "client_credentials",
            "client_id": NODES,
            "client_secret": SECRETS[NODES],
            "scope": "provisioner/openid",
        }
    ]
    node.wake_prober()
    assert bearer_of(receiver) == token
    assert len(server.asked) == 1
    assert client.read_node().authentication_mode == "OPEN_IDC"


def test_a_token_is_renewed_in_the_second_half_of_its_lifetime(
    client: NodeClient,
    node: SimulatedNode,
    server: TokenServer,
    receiver: ProbeReceiver,
    settings: ProvisionerSettings,
) -> None:
    receiver.reply["provisioner"] = settings.model_dump(mode="json", exclude={"token"})
    server.broken[NODES] = Reply(body=b'{"access_token": "short", "expires_in": 1}')
    client.put_provisioner(settings)
    assert bearer_of(receiver) == "short"
    server.broken[NODES] = Reply(body=b'{"access_token": "next"}')

    def is_next() -> bool:
        node.wake_prober()
        return bearer_of(receiver) == "next"

    eventually(is_next, seconds=10, what="the token that is about to expire is replaced")


def test_a_server_that_gives_no_token_is_asked_again(
    client: NodeClient, server: TokenServer, receiver: ProbeReceiver, settings: ProvisionerSettings
) -> None:
    server.broken[NODES] = Reply(500)
    client.put_provisioner(settings)
    time.sleep(0.3)
    assert receiver.probes.empty(), "not with the local token"
    server.broken.clear()
    assert bearer_of(receiver) != "local-token"


def test_a_reply_without_a_server_returns_to_the_local_token(
    client: NodeClient, node: SimulatedNode, receiver: ProbeReceiver, settings: ProvisionerSettings
) -> None:
    receiver.reply["provisioner"] = {"inUse": True}
    client.put_provisioner(settings)
    assert bearer_of(receiver) != "local-token"
    node.wake_prober()
    assert bearer_of(receiver) == "local-token"
    assert client.read_node().authentication_mode == "LOCAL"


def test_a_reply_with_a_server_switches_to_its_tokens(
    client: NodeClient, node: SimulatedNode, receiver: ProbeReceiver, settings: ProvisionerSettings
) -> None:
    receiver.reply["provisioner"] = settings.model_dump(mode="json", exclude={"token"})
    client.put_provisioner(settings.model_copy(update={"authorization_server": None}))
    assert bearer_of(receiver) == "local-token"
    node.wake_prober()
    assert bearer_of(receiver) != "local-token"
