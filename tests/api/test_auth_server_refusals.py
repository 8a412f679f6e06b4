"""Every refusal of ``POST /auth_server``, in the order of the reference."""

import datetime as dt
import json
import time

import pytest
from django.utils import timezone

from inventory.models import Backend
from inventory.nodes.wire import RefusalCode
from provisioner.access.http_fetch import MAX_ANSWER_BYTES
from tests.oidc.forgery import forge
from tests.oidc.token_server import NODES, PROVISIONER, SECRETS, Reply, key, pem

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/auth_server"
CLIENTS = [(PROVISIONER, "ProvisionerClient"), (NODES, "BackendsClient")]


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("provisioner.access.http_fetch.CALL_SECONDS", 0.5)


NO_TOKEN = {
    "500": (Reply(500, b"oops"), "HTTP status 500"),
    "refused": (Reply(401, b'{"error": "invalid_client"}'), "HTTP status 401 (invalid_client)"),
    "echo": (Reply(400, json.dumps({"error": SECRETS[NODES]}).encode()), "HTTP status 400"),
    "garbage": (Reply(200, b"\x00\xff<html>"), "not a JSON object"),
    "list": (Reply(200, b"[1]"), "not a JSON object"),
    "deep": (Reply(200, b"[" * 100_000), "not a JSON object"),
    "no token": (Reply(200, b'{"token": "x"}'), "no usable access_token"),
    "token that breaks headers": (
        Reply(200, b'{"access_token": "a\\nb"}'),
        "no usable access_token",
    ),
    "token of another type": (Reply(200, b'{"access_token": 5}'), "no usable access_token"),
    "redirect": (Reply(302, b"", {"Location": "/elsewhere"}), "HTTP status 302"),
    "redirect of the form": (Reply(307, b"", {"Location": "/elsewhere"}), "HTTP status 307"),
    "huge": (Reply(200, b" " * (MAX_ANSWER_BYTES + 1)), "longer than"),
    "slow": (Reply(seconds=2), "no answer within 0.5 s"),
}


class TestRefusals:
    @pytest.mark.parametrize(("client", "name"), CLIENTS)
    @pytest.mark.parametrize("fault", NO_TOKEN)
    def test_a_server_that_issues_no_token_is_refused(
        self, api, token_server, impatient, client, name, fault
    ):
        token_server.broken[client], reason = NO_TOKEN[fault]
        began = time.monotonic()
        answer = api.post(PATH, token_server.body())
        assert answer.status == f"Create{name}TokenFailed"
        assert reason in answer.description
        assert SECRETS[client] not in answer.description
        assert time.monotonic() - began < 10
        assert "/elsewhere" not in token_server.fetched
        assert api.get(PATH).body == {}

    @pytest.mark.parametrize(("client", "name"), CLIENTS)
    def test_a_wrong_client_secret_is_refused(self, api, token_server, client, name):
        field = "provisionerClientSecret" if client == PROVISIONER else "backendsClientSecret"
        answer = api.post(PATH, token_server.body(**{field: "wrong"}))
        assert answer.status == f"Create{name}TokenFailed"

    def test_a_server_that_cannot_be_reached_is_refused(self, api, token_server):
        body = token_server.body(authorizationServerTokenURL="http://127.0.0.1:1/token")
        answer = api.post(PATH, body)
        assert answer.status == "CreateProvisionerClientTokenFailed"

    @pytest.mark.parametrize(("client", "name"), CLIENTS)
    @pytest.mark.parametrize(
        "claims",
        [
            {"exp": 1}, {"exp": None}, {"exp": "never"}, {"nbf": 10**11}, {"iss": "other"},
            {"iss": None}, {"resource_access": "x"}, {"resource_access": {"r": {"roles": 5}}},
        ],
    )  # fmt: skip
    def test_a_token_with_wrong_claims_is_refused(self, api, token_server, client, name, claims):
        token_server.claims[client] = claims
        assert api.post(PATH, token_server.body()).status == f"Decrypt{name}TokenFailed"

    def test_the_token_that_nodes_send_must_have_the_audience(self, admin, token_server):
        token_server.claims[PROVISIONER] = {"aud": "the nodes"}
        assert admin.post(PATH, token_server.body()).status == "Success"
        token_server.claims[NODES] = {"aud": "other"}
        answer = admin.post(PATH, token_server.body())
        assert answer.status == "DecryptBackendsClientTokenFailed"
        assert "'provisioner'" in answer.description

    def test_issuer_and_audience_are_not_checked_unless_set(self, api, token_server):
        token_server.claims = {client: {"iss": "x", "aud": "y"} for client, _ in CLIENTS}
        body = token_server.body(authorizationServerIssuer=None, authorizationServerAudience=None)
        assert api.post(PATH, body).status == "Success"

    @pytest.mark.parametrize(("client", "name"), CLIENTS)
    @pytest.mark.parametrize("forgery", ["none", "HS256", "foreign", "kid", "text", "no kid"])
    def test_a_token_with_a_forged_signature_is_refused(
        self, api, token_server, client, name, forgery
    ):
        public = pem(token_server.key)
        stranger = key(1)

        def sign(who, claims):
            if who != client:
                return token_server.signed(who, claims)
            return forge(forgery, claims, public, stranger)

        token_server.sign = sign
        for body in (
            token_server.body(),
            token_server.body(
                authorizationServerPublicKey=public, authorizationServerJwkSetURL=None
            ),
        ):
            assert api.post(PATH, body).status == f"Decrypt{name}TokenFailed"

    @pytest.mark.parametrize(
        "reply",
        [
            Reply(500), Reply(200, b"x"), Reply(200, b"{}"), Reply(200, b'{"keys": []}'),
            Reply(200, b'{"keys": [5, {"kty": "oct", "k": "c2VjcmV0", "kid": "k1"}]}'),
            Reply(302, b"", {"Location": "/elsewhere"}), Reply(seconds=2),
        ],
    )  # fmt: skip
    def test_a_key_set_that_cannot_be_read_is_refused(self, api, token_server, impatient, reply):
        token_server.broken["/jwks"] = reply
        answer = api.post(PATH, token_server.body())
        assert answer.status == "DecryptProvisionerClientTokenFailed"
        assert f"{token_server.url}/jwks" in answer.description

    @pytest.mark.parametrize(("client", "name"), CLIENTS)
    @pytest.mark.parametrize(
        "access",
        [
            None, {}, {"other": {"roles": ["ADMIN"]}}, {"prov-resource": {"roles": ["MONITOR"]}},
            {"nodes-resource": {}}, {"prov-resource": {"roles": ["admin"]}},
        ],
    )  # fmt: skip
    def test_a_client_without_the_role_admin_is_refused(
        self, api, token_server, client, name, access
    ):
        token_server.claims[client] = {"resource_access": access}
        assert api.post(PATH, token_server.body()).status == f"{name}Unauthorized"

    def test_roles_outside_of_resource_access_do_not_count(self, api, token_server):
        token_server.claims[NODES] = {"resource_access": {}, "roles": ["ADMIN"]}
        answer = api.post(PATH, token_server.body())
        assert answer.status == "BackendsClientUnauthorized"
        assert "'nodes-resource'" in answer.description

    def test_a_server_is_refused_while_a_node_is_unavailable(self, api, token_server, pool):
        first, second = pool(2)
        Backend.objects.filter(pk=second).update(available_until=timezone.now())
        for status in ("NotAvailable", "NotAvailable"):
            answer = api.post(PATH, token_server.body())
            assert answer.status == status
            assert second in answer.description
            assert first not in answer.description
        assert api.get(PATH).body == {}

    @pytest.mark.parametrize("fault", ["refuse", "down"])
    def test_a_server_is_refused_if_a_node_does_not_accept_it(
        self, api, token_server, pool, fleet, fault
    ):
        _, second = pool(2)
        faults = fleet.nodes[1].faults
        if fault == "down":
            faults.go_down()
        else:
            faults.refuse(RefusalCode.UNAVAILABLE, method="PUT")
        answer = api.post(PATH, token_server.body())
        assert answer.status == "NotAvailable"
        assert second in answer.description
        assert api.get(PATH).body == {}
        assert api.get("/info").body["authenticationMode"] == "JWT"

    def test_checks_run_in_the_order_of_the_reference(self, admin, token_server, pool):
        pool(1)
        assert admin.post(PATH, token_server.body()).status == "Success"
        Backend.objects.update(available_until=timezone.now())
        wrong = {"exp": 1, "resource_access": {}}
        token_server.claims = {PROVISIONER: dict(wrong), NODES: dict(wrong)}
        token_server.broken = {PROVISIONER: Reply(500), NODES: Reply(500)}
        claims = token_server.claims
        repairs = {
            "CreateProvisionerClientTokenFailed": lambda: token_server.broken.pop(PROVISIONER),
            "CreateBackendsClientTokenFailed": lambda: token_server.broken.pop(NODES),
            "DecryptProvisionerClientTokenFailed": lambda: claims[PROVISIONER].pop("exp"),
            "DecryptBackendsClientTokenFailed": lambda: claims[NODES].pop("exp"),
            "ProvisionerClientUnauthorized": lambda: claims.pop(PROVISIONER),
            "BackendsClientUnauthorized": lambda: claims.pop(NODES),
            "NotAvailable": lambda: Backend.objects.update(
                available_until=timezone.now() + dt.timedelta(minutes=1)
            ),
            "NoChange": lambda: None,
        }
        for code, repair in repairs.items():
            assert admin.post(PATH, token_server.body()).status == code
            repair()
