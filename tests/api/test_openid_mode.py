"""Who may call once an authorization server is set (OPEN_IDC)."""

import datetime as dt
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from inventory.models import Backend
from provisioner.access.models import AuthorizationServer
from provisioner.access.principals import Role
from provisioner.access.tokens import token_issue
from tests.api.probe_steps import report
from tests.api.tenants_steps import BUDGET
from tests.api.wire import bearer, refused, send
from tests.inventory.poll_steps import poll, silent_for
from tests.oidc.forgery import forge
from tests.oidc.token_server import NODES, Reply, jwk, key, pem

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/auth_server"
ALGORITHMS: dict[str, Callable[[], Any]] = {
    **{name: lambda: key(2) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")},
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ES512": lambda: ec.generate_private_key(ec.SECP521R1()),
}


@pytest.fixture
def get(live_server):
    return lambda token, path="/tenants": send(live_server.url, "GET", path, headers=bearer(token))


@pytest.fixture
def probe(api):
    """Send ``POST /probe`` for a node, with a token."""

    def post(token, persistent_id):
        return type(api)(api.url, f"Bearer {token}").post("/probe", report(persistent_id))

    return post


@pytest.fixture
def openid(api, token_server):
    """Set the tests' own authorization server."""
    assert api.post(PATH, token_server.body()).status == "Success"
    return token_server


@pytest.fixture
def quick_refetch(monkeypatch):
    monkeypatch.setattr("provisioner.access.jwk_set.REFETCH_SECONDS", 0.3)


class TestRealServer:
    def test_a_token_of_the_server_carries_roles_and_tenant(self, api, real_server, get, pool):
        pool(1)
        for tenant in ("t1", "t2"):
            body = BUDGET | {"tenantId": tenant, "name": tenant}
            assert api.post("/tenants", body).status == "Success", body
        assert api.post(PATH, real_server.body()).status == "Success"
        assert get(real_server.token("the-provisioner")).http == 200
        assert get(real_server.token("a-monitor")).http == 200
        refused(get(real_server.token("a-storage-client"), "/license"), 403, "Forbidden")
        assert get(real_server.token("an-adfs-monitor")).http == 200
        refused(get(real_server.token("a-stranger")), 403, "Forbidden")
        storage = real_server.token("a-storage-client")
        assert get(storage, "/t1/volumes").body == []
        assert get(storage, "/t2/volumes").body["status"] == "TenantNotFound"

    def test_a_rotated_key_of_the_server_is_read(self, api, real_server, get, quick_refetch):
        assert api.post(PATH, real_server.body()).status == "Success"
        old = real_server.token("a-monitor")
        assert get(old).http == 200
        time.sleep(0.3)
        real_server.rotate()
        assert get(real_server.token("a-monitor")).http == 200
        assert get(old).http == 200, "both keys are published"
        time.sleep(0.3)
        real_server.rotate(drop=True)
        assert get(real_server.token("a-monitor")).http == 200
        refused(get(old), 401, "Unauthorized")

    def test_nodes_probe_with_the_token_of_their_client(self, admin, real_server, pool, probe):
        first, second = pool(2)
        assert admin.post(PATH, real_server.body()).status == "Success"
        token = real_server.token("the-nodes")
        for persistent_id in (first, second):
            answer = probe(token, persistent_id)
            assert answer.status == "Success"
        assert answer.body["provisioner"]["authorizationServer"] == {
            "tokenURL": f"{real_server.url}/token",
            "clientID": "the-nodes",
            "clientSecret": "secret of the-nodes",
            "resourceID": "nodes-resource",
            "publicKey": "",
            "jwkSetURL": f"{real_server.url}/jwks",
            "scope": "",
            "caCertificate": "",
        }
        assert admin.get("/backends").body[0]["authenticationMode"] == "OPEN_IDC"
        refused(probe(real_server.token("a-monitor"), first), 403, "Forbidden")


class TestWhoIsAccepted:
    def test_local_tokens_are_refused(self, api, admin, openid, get):
        refused(api.get("/backends"), 401, "Unauthorized")
        assert admin.get("/backends").http == 200, "the way back in"
        assert admin.delete(PATH).status == "Success"
        assert api.get("/backends").http == 200
        refused(get(openid.token()), 401, "Unauthorized")

    def test_the_local_token_of_a_node_is_refused(self, api, token_server, pool, probe):
        [persistent_id] = pool(1)
        token, _ = token_issue(
            name="n", roles={Role.NODE}, node_id=persistent_id, lifetime=dt.timedelta(hours=1)
        )
        assert probe(token, persistent_id).status == "Success"
        assert api.post(PATH, token_server.body()).status == "Success"
        refused(probe(token, persistent_id), 401, "Unauthorized")
        assert probe(openid_token := token_server.token(NODES), persistent_id).status == "Success"
        assert openid_token

    def test_the_backends_client_may_only_probe(self, openid, get):
        """This is so even if its token has the role ADMIN at the provisioner's resource."""
        everything = {"prov-resource": {"roles": ["ADMIN"]}}
        refused(get(openid.token(NODES, resource_access=everything)), 403, "Forbidden")
        refused(get(openid.token(NODES, resource_access=None, roles=["ADMIN"])), 403, "Forbidden")

    def test_a_client_that_is_both_keeps_its_roles(self, api, token_server, get):
        body = token_server.body(
            backendsClientID="prov",
            backendsResourceID="prov-resource",
            backendsClientSecret=token_server.body()["provisionerClientSecret"],
        )
        assert api.post(PATH, body).status == "Success"
        assert get(token_server.token()).http == 200

    def test_a_node_token_of_the_server_may_probe_for_its_node(
        self, api, token_server, pool, probe
    ):
        first, second = pool(2)
        assert api.post(PATH, token_server.body()).status == "Success"
        access = {"prov-resource": {"roles": ["NODE"]}}
        token = token_server.token("agent", resource_access=access, node=first)
        assert probe(token, first).status == "Success"
        refused(probe(token, second), 403, "Forbidden")

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_tokens_of_each_supported_algorithm_are_accepted(
        self, api, token_server, get, algorithm
    ):
        private = ALGORITHMS[algorithm]()
        token_server.published = [jwk(private, "k9", algorithm)]
        token_server.sign = lambda client, claims: jwt.encode(
            claims, private, algorithm, {"kid": "k9"}
        )
        assert api.post(PATH, token_server.body()).status == "Success"
        assert get(token_server.token()).http == 200

    def test_a_token_without_kid_is_accepted(self, openid, get):
        openid.sign = lambda client, claims: jwt.encode(claims, openid.key, "RS256")
        assert get(openid.token()).http == 200

    def test_clocks_may_differ_by_the_leeway(self, openid, get):
        now = int(time.time())
        assert get(openid.token(exp=now - 2, nbf=now + 2)).http == 200
        for claims in ({"exp": now - 60}, {"nbf": now + 60}):
            refused(get(openid.token(**claims)), 401, "Unauthorized")

    @pytest.mark.parametrize("roles", [["HOST"], ["ADMIN", "HOST"]])
    def test_a_token_of_role_host_must_name_its_host(self, openid, get, roles):
        token = openid.token(resource_access={"prov-resource": {"roles": roles}})
        assert "needs the claim `host`" in refused(get(token), 401, "Unauthorized")

    @pytest.mark.parametrize(
        ("claims", "reason"),
        [
            ({"exp": 1}, "the token has expired"),
            ({"nbf": 10**11}, "the token is not valid yet"),
            ({"iss": "https://other"}, "the token's issuer is not 'https://issuer.test'"),
            ({"aud": "other"}, "the token is not for audience 'provisioner'"),
            ({"aud": None}, "the token is not valid for this API"),
            ({"iss": None}, "the token is not valid for this API"),
            ({"exp": None}, "the token is not valid for this API"),
            ({"exp": {}}, "the token is not valid for this API"),
            ({"tenant": ["a", "b"]}, "the token is not valid for this API"),
            ({"tenant": 5}, "the token is not valid for this API"),
            ({"resource_access": []}, "the token is not valid for this API"),
        ],
    )
    def test_a_token_with_wrong_claims_is_refused(self, openid, get, claims, reason):
        description = refused(get(openid.token(**claims)), 401, "Unauthorized")
        assert description == f"HTTP Status 401 - {reason}"

    @pytest.mark.parametrize(
        ("claim", "role"), [("tenant", "STORAGE"), ("node", "NODE"), ("host", "HOST")]
    )
    def test_a_token_with_an_empty_binding_is_refused(self, openid, get, claim, role):
        """Otherwise it would see the objects that are marked with no tenant or host."""
        access = {"prov-resource": {"roles": [role]}}
        token = openid.token(resource_access=access, **{claim: ""})
        assert f"the claim {claim} must not be empty" in refused(get(token), 401, "Unauthorized")

    @pytest.mark.parametrize("forgery", ["none", "HS256", "foreign", "kid", "text", "no kid"])
    @pytest.mark.parametrize("keys", ["set", "one"])
    def test_a_forged_signature_is_refused(self, api, token_server, get, forgery, keys):
        public = pem(token_server.key)
        body = token_server.body()
        if keys == "one":
            body |= {"authorizationServerPublicKey": public, "authorizationServerJwkSetURL": None}
        assert api.post(PATH, body).status == "Success"
        assert get(token_server.token()).http == 200
        claims = jwt.decode(token_server.token(), options={"verify_signature": False})
        refused(get(forge(forgery, claims, public, key(1))), 401, "Unauthorized")

    @pytest.mark.parametrize("algorithm", ["RS512", "PS256"])
    def test_an_algorithm_other_than_the_keys_own_is_refused(self, openid, get, algorithm):
        token = openid.token()
        claims = jwt.decode(token, options={"verify_signature": False})
        other = jwt.encode(claims, openid.key, algorithm, {"kid": "k1"})
        refused(get(other), 401, "Unauthorized")

    @pytest.mark.parametrize("size", [1024])
    def test_keys_that_are_too_short_are_refused(self, api, token_server, size):
        short = rsa.generate_private_key(65537, size)
        token_server.published = [jwk(short, "k1")]
        answer = api.post(PATH, token_server.body())
        assert answer.status == "DecryptProvisionerClientTokenFailed"
        body = token_server.body(
            authorizationServerPublicKey=pem(short), authorizationServerJwkSetURL=None
        )
        assert api.post(PATH, body).status == "InvalidInput"


class TestKeySet:
    def test_the_key_set_is_read_once_for_many_requests(self, openid, get):
        openid.fetched.clear()
        for _ in range(3):
            assert get(openid.token()).http == 200
        assert openid.fetched == ["/jwks"]

    def test_unknown_kids_do_not_cause_repeated_reads(self, openid, get):
        assert get(openid.token()).http == 200
        openid.fetched.clear()
        for number in range(5):
            openid.kid = f"unknown-{number}"
            refused(get(openid.token()), 401, "Unauthorized")
        assert openid.fetched == []

    def test_known_keys_are_used_for_a_while_after_the_server_went_down(
        self, openid, get, quick_refetch, monkeypatch
    ):
        assert get(openid.token()).http == 200
        openid.broken["/jwks"] = Reply(500)
        monkeypatch.setattr("provisioner.access.jwk_set.FRESH_SECONDS", 0)
        time.sleep(0.3)
        assert get(openid.token()).http == 200
        monkeypatch.setattr("provisioner.access.jwk_set.USABLE_SECONDS", 0)
        description = refused(get(openid.token()), 503, "ServiceUnavailable")
        assert f"{openid.url}/jwks: it answered with HTTP status 500" in description

    def test_a_token_cannot_be_verified_without_keys(self, openid, get, quick_refetch):
        openid.broken["/jwks"] = Reply(500)
        refused(get(openid.token()), 503, "ServiceUnavailable")
        openid.broken.clear()
        time.sleep(0.3)
        assert get(openid.token()).http == 200


def test_a_change_by_another_process_is_seen_within_2_s(openid, get):
    assert get(openid.token()).http == 200
    AuthorizationServer.objects.all().delete()  # like another process
    assert get(openid.token()).http == 200
    time.sleep(2)
    refused(get(openid.token()), 401, "Unauthorized")


def test_a_late_node_gets_its_settings_again(admin, openid, fleet):
    """The node may have missed a change of the authorization server. With wrong settings, its
    probes would be refused.
    """
    node = fleet.nodes[0]
    answer = admin.post("/backends", {"mgmtIPs": [node.address], "mgmtPort": node.port})
    persistent_id = answer.body["persistentID"]
    node.agent.put_provisioner(
        node.agent.provisioner.model_copy(update={"authorization_server": None})
    )
    silent_for(95)
    assert poll() == {persistent_id}
    assert node.agent.provisioner.authorization_server.client_id == NODES
    assert Backend.objects.get().is_available
