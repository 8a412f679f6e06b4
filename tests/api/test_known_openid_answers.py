"""Polls with tokens of an authorization server are answered from memory, too."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from provisioner.access import authorization_server
from provisioner.access.authorization_server import (
    CACHE_SECONDS,
    authorization_server_clear_cache,
    authorization_server_current,
)
from provisioner.access.models import AuthorizationServer
from provisioner.access.oidc_tokens import LEEWAY_SECONDS, oidc_watch
from provisioner.common import clock
from tests.api.poller_steps import PLAIN, TRIES, Poller
from tests.api.server_steps import Server
from tests.oidc.token_server import ISSUER, NODES, PROVISIONER, TokenServer

pytestmark = pytest.mark.django_db(transaction=True)

HOSTS = "/tasks?hostId=a-host"
LIFETIME_SECONDS = 15


@pytest.fixture
def openid(base_rows: None, token_server: TokenServer) -> TokenServer:
    """The authorization server, which is set in the database."""
    AuthorizationServer.objects.create(
        pk=AuthorizationServer.ONLY,
        token_url=f"{token_server.url}/token",
        jwk_set_url=f"{token_server.url}/jwks",
        issuer=ISSUER,
        audience="provisioner",
        provisioner_client_id=PROVISIONER,
        provisioner_resource_id="prov-resource",
        backends_client_id=NODES,
        backends_resource_id="nodes-resource",
        changed_at=clock.now(),
    )
    return token_server


@pytest.fixture
def poller(openid: TokenServer, tmp_path: Path) -> Iterator[Poller]:
    server = Server(tmp_path, **PLAIN)
    poller = Poller(server)
    yield poller
    poller.close()
    server.stop()


def test_a_poll_is_answered_from_memory_until_its_token_or_the_server_changes(
    poller: Poller, openid: TokenServer
) -> None:
    def poll(token: str) -> bytes:
        return poller.send(HOSTS, f"Bearer {token}")

    ends_at = time.monotonic() + LIFETIME_SECONDS + 1
    short = openid.token(exp=int(time.time()) + LIFETIME_SECONDS)
    lasting = openid.token()
    for token in (short, lasting):
        assert poller.known(partial(poll, token)).endswith(b"\r\n\r\n[]")
    refused = openid.token(resource_access={"prov-resource": {"roles": ["NODE"]}})
    for _ in range(TRIES):
        assert poll(refused).startswith(b"HTTP/1.1 403 ")
    time.sleep(max(0.0, ends_at - time.monotonic()))
    time.sleep(LEEWAY_SECONDS)
    for _ in range(TRIES):
        assert b"has expired" in poll(short)
    poller.known(lambda: poll(lasting))
    AuthorizationServer.objects.update(provisioner_resource_id="another")
    time.sleep(CACHE_SECONDS)
    for _ in range(TRIES):
        assert poll(lasting).startswith(b"HTTP/1.1 403 ")


def test_a_token_that_was_never_valid_is_not_known_to_be(
    openid: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authorization_server, "CACHE_SECONDS", 60.0)
    server = authorization_server_current()
    assert server
    for token in ("x.y.z", openid.token(exp=1), openid.token(aud="another")):
        assert not oidc_watch(token, server)()
    assert oidc_watch(openid.token(), server)()
    authorization_server_clear_cache()
    assert not oidc_watch(openid.token(), server)(), "the server may be another one now"
