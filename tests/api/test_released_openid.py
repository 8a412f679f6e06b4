"""The agent of release 3.22 with an authorization server, from which it gets its tokens."""

import time
from urllib.parse import urlencode

import pytest
import urllib3

from tests.api.released_clients import AGENT, HOST, ReleasedClient
from tests.conftest import Api
from tests.oidc.token_server import SECRETS, TokenServer

pytestmark = pytest.mark.django_db(transaction=True)
AGENTS = "host-agents"
ROLES = {"prov-resource": {"roles": ["HOST"]}}


@pytest.fixture
def openid(api: Api, token_server: TokenServer, monkeypatch: pytest.MonkeyPatch) -> TokenServer:
    monkeypatch.setitem(SECRETS, AGENTS, "of the agents")
    token_server.claims[AGENTS] = {"resource_access": ROLES, "host": HOST}
    assert api.post("/auth_server", token_server.body()).status == "Success"
    return token_server


def token_of_agent(server: TokenServer) -> str:
    """Get a token with the form that the agent sends."""
    form = {"grant_type": "client_credentials", "client_id": AGENTS}
    fields = urlencode(form | {"client_secret": SECRETS[AGENTS]})
    typed = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = urllib3.request("POST", f"{server.url}/token", body=fields, headers=typed)
    token = answer.json()
    assert (answer.reason, token["expires_in"]) == ("OK", 300)
    return str(token["access_token"])


def test_the_agents_token_of_the_server_may_make_its_calls(api: Api, openid: TokenServer) -> None:
    agent = ReleasedClient(api.url, f"Bearer {token_of_agent(openid)}")
    agent.probe(AGENT)
    assert agent.get(f"targets?hostId={HOST}") == []
    assert agent.get(f"tasks?hostId={HOST}") == []
    assert agent.get("backends") == []
    assert agent.call("PATCH", "replica/v/r/Available").status == "NotExists"
    assert agent.call("POST", "volumes", {"alias": "a", "capacity": 1}).http == 403


def test_the_agent_starts_without_a_token_and_notices_an_expired_one(
    api: Api, openid: TokenServer
) -> None:
    """The agent searches the text for ``Status 401``. Its first call reads the version, which works
    with any token.
    """
    unknown = ReleasedClient(api.url, "Bearer Unknown")
    assert unknown.get("info")["version"] == "1.1"
    openid.claims[AGENTS] = {"resource_access": ROLES, "host": HOST, "exp": int(time.time()) - 600}
    over = ReleasedClient(api.url, f"Bearer {token_of_agent(openid)}")
    for client in (unknown, over):
        refused = client.call("GET", f"tasks?hostId={HOST}")
        assert refused.http == 401
        assert "Status 401" in refused.description
