"""``/auth_server`` (reference, "Authorization Server Config API's"; contract, section 10)."""

import logging

import pytest
from django.utils import timezone
from pydantic import SecretStr

from inventory.models import Backend
from provisioner.access.authorization_server import authorization_server_forget
from provisioner.access.models import AuthorizationServer
from tests.api.wire import bearer, send
from tests.conftest import Api
from tests.oidc.token_server import NODES, PROVISIONER, SECRETS, Reply, pem

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/auth_server"
CLIENTS = [(PROVISIONER, "ProvisionerClient"), (NODES, "BackendsClient")]


class TestSuccess:
    def test_real_server_and_back(self, admin, real_server, pool, fleet):
        pool(2)
        body = real_server.body()
        assert admin.get(PATH).body == {}
        answer = admin.post(PATH, body)
        assert answer.body == {"status": "Success", "description": "Success"}
        assert admin.get(PATH).body == body
        assert admin.get("/info").body["authenticationMode"] == "OPEN_IDC"
        assert [
            node.agent.provisioner.authorization_server.client_id for node in fleet.nodes[:2]
        ] == [
            "the-nodes",
            "the-nodes",
        ]
        assert admin.post(PATH, body).status == "NoChange"
        assert admin.delete(PATH).body == {"status": "Success", "description": "Success"}
        assert admin.get(PATH).body == {}
        assert admin.get("/info").body["authenticationMode"] == "JWT"
        assert fleet.nodes[0].agent.provisioner.authorization_server is None

    def test_what_the_node_is_given(self, admin, token_server, pool, fleet):
        pool(1)
        body = token_server.body(backendsClientScope="s")
        assert admin.post(PATH, body).status == "Success"
        told = fleet.nodes[0].agent.provisioner
        assert told.token, "for the day when local tokens count again"
        assert told.authorization_server.model_dump() == {
            "tokenURL": f"{token_server.url}/token",
            "clientID": NODES,
            "clientSecret": SECRETS[NODES],
            "resourceID": "nodes-resource",
            "publicKey": "",
            "jwkSetURL": f"{token_server.url}/jwks",
            "scope": "s",
            "caCertificate": "",
        }

    def test_the_token_requests(self, admin, token_server):
        body = token_server.body(provisionerClientScope="a/openid b", backendsClientScope="c")
        assert admin.post(PATH, body).status == "Success"
        assert token_server.asked == [
            {
                "grant_type": "client_credentials",
                "client_id": client,
                "client_secret": SECRETS[client],
                "scope": scope,
            }
            for client, scope in ((PROVISIONER, "a/openid b"), (NODES, "c"))
        ]

    @pytest.mark.parametrize("form", ["PEM", "base64", "lines"])
    def test_public_key_as_pem_or_as_keycloak_shows_it(self, admin, token_server, form):
        text = pem(token_server.key)
        if form != "PEM":
            lines = [line for line in text.splitlines() if "-----" not in line]
            text = ("\n" if form == "lines" else "").join(lines)
        body = token_server.body(
            authorizationServerPublicKey=text, authorizationServerJwkSetURL=None
        )
        assert admin.post(PATH, body).status == "Success"
        assert admin.get(PATH).body["authorizationServerPublicKey"] == text.strip()
        assert token_server.fetched == ["/token", "/token"]

    @pytest.mark.parametrize("roles", ["ADMIN", ["ADMIN", "x"]])
    def test_roles_of_adfs(self, admin, token_server, roles):
        for client, _ in CLIENTS:
            token_server.claims[client] = {
                "resource_access": None, "azp": None, "appid": client, "roles": roles,
            }  # fmt: skip
        assert admin.post(PATH, token_server.body()).status == "Success"

    def test_https_of_a_private_ca(self, admin, authority, settings, local_mode):
        from tests.oidc.token_server import TokenServer

        server = TokenServer(authority.server("oidc", ["127.0.0.1"]))
        try:
            answer = admin.post(PATH, server.body())
            assert answer.status == "CreateProvisionerClientTokenFailed"
            assert "CERTIFICATE_VERIFY_FAILED" in answer.description
            settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(
                update={"auth_server_ca": authority.path}
            )
            assert admin.post(PATH, server.body()).status == "Success"
        finally:
            server.close()

    def test_another_server_takes_its_place(self, admin, token_server, real_server):
        assert admin.post(PATH, token_server.body()).status == "Success"
        assert admin.post(PATH, real_server.body()).status == "Success"
        assert admin.get(PATH).body == real_server.body()

    @pytest.mark.parametrize("field", ["provisionerClientScope", "backendsClientScope"])
    def test_one_changed_field_is_a_change(self, admin, token_server, field):
        assert admin.post(PATH, token_server.body()).status == "Success"
        assert admin.post(PATH, token_server.body(**{field: "s"})).status == "Success"
        assert admin.post(PATH, token_server.body(**{field: "s"})).status == "NoChange"


class TestInput:
    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"authorizationServerJwkSetURL": None}, "authorizationServerPublicKey"),
            ({"authorizationServerJwkSetURL": ""}, "exactly one"),
            ({"authorizationServerTokenURL": None}, "authorizationServerTokenURL"),
            ({"authorizationServerTokenURL": "ftp://x/t"}, "authorizationServerTokenURL"),
            ({"authorizationServerTokenURL": "http://"}, "authorizationServerTokenURL"),
            ({"authorizationServerTokenURL": "http://[::1"}, "authorizationServerTokenURL"),
            ({"authorizationServerTokenURL": "http://u:p@x/t"}, "authorizationServerTokenURL"),
            ({"authorizationServerTokenURL": "http://x:99999/"}, "authorizationServerTokenURL"),
            ({"authorizationServerTokenURL": "http://x/\r\nA: b"}, "authorizationServerTokenURL"),
            ({"authorizationServerJwkSetURL": "file:///etc/x"}, "authorizationServerJwkSetURL"),
            ({"authorizationServerPublicKey": "BIGLONGSTRING"}, "authorizationServerPublicKey"),
            ({"authorizationServerPublicKey": "-----BEGIN PUBLIC KEY-----"}, "PublicKey"),
            ({"provisionerClientID": None}, "provisionerClientID"),
            ({"provisionerClientID": "x" * 256}, "provisionerClientID"),
            ({"provisionerResourceID": None}, "provisionerResourceID"),
            ({"provisionerClientSecret": None}, "provisionerClientSecret"),
            ({"backendsClientID": None}, "backendsClientID"),
            ({"backendsResourceID": None}, "backendsResourceID"),
            ({"backendsClientSecret": ""}, "backendsClientSecret"),
            ({"backendsClientSecret": "a\0b"}, "backendsClientSecret"),
            ({"backendsClientScope": ["x"]}, "backendsClientScope"),
        ],
    )
    def test_is_refused(self, api, token_server, changes, named):
        answer = api.post(PATH, token_server.body(**changes))
        assert (answer.http, answer.status) == (400, "InvalidInput")
        assert named in answer.description
        assert token_server.asked == []

    def test_both_sources_of_keys(self, api, token_server):
        body = token_server.body(authorizationServerPublicKey=pem(token_server.key))
        assert api.post(PATH, body).status == "InvalidInput"

    def test_names_in_any_case(self, api, token_server):
        body = {f" {name.upper()} ": value for name, value in token_server.body().items()}
        assert api.post(PATH, body).status == "Success"


class TestDelete:
    def test_in_local_mode(self, api, local_mode):
        assert api.delete(PATH).status == "InvalidAuthMode"

    @pytest.mark.parametrize("fault", ["silent", "down"])
    def test_not_all_available(self, admin, token_server, pool, fleet, fault):
        [only] = pool(1)
        assert admin.post(PATH, token_server.body()).status == "Success"
        if fault == "down":
            fleet.nodes[0].faults.go_down()
        else:
            Backend.objects.update(available_until=timezone.now())
        answer = admin.delete(PATH)
        assert answer.status == "NotAvailable"
        assert only in answer.description
        assert admin.get("/info").body["authenticationMode"] == "OPEN_IDC"


class TestSecrets:
    def test_are_encrypted_at_rest_and_shown_to_the_admin_only(
        self, admin, token_server, make_user, live_server
    ):
        assert admin.post(PATH, token_server.body()).status == "Success"
        row = AuthorizationServer.objects.values().get()
        assert not any(secret in str(row) for secret in SECRETS.values())
        assert admin.get(PATH).body == token_server.body()
        monitor = Api(live_server.url, make_user("m", "pw", "MONITOR")["Authorization"])
        hidden = {"provisionerClientSecret": None, "backendsClientSecret": None}
        assert monitor.get(PATH).body == token_server.body(**hidden)
        assert monitor.post(PATH, token_server.body()).http == 403
        assert monitor.delete(PATH).http == 403

    def test_are_not_logged(self, admin, token_server, pool, caplog):
        caplog.set_level(logging.DEBUG)
        pool(1)
        token_server.broken[NODES] = Reply(500)
        assert admin.post(PATH, token_server.body()).status == "CreateBackendsClientTokenFailed"
        token_server.broken.clear()
        assert admin.post(PATH, token_server.body()).status == "Success"
        assert admin.delete(PATH).status == "Success"
        everything = "".join(str(record.__dict__) for record in caplog.records)
        assert "auth_server" in everything
        assert not any(secret in everything for secret in SECRETS.values())

    def test_of_a_lost_key_do_no_harm_and_can_be_set_anew(self, admin, token_server, settings):
        assert admin.post(PATH, token_server.body()).status == "Success"
        settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(
            update={"data_keys": (SecretStr("another key" * 4),)}
        )
        authorization_server_forget()
        hidden = {"provisionerClientSecret": None, "backendsClientSecret": None}
        assert admin.get(PATH).body == token_server.body(**hidden)
        assert send(admin.url, "GET", "/backends", headers=bearer(token_server.token())).http == 200
        assert admin.post(PATH, token_server.body()).status == "Success"
        assert admin.get(PATH).body == token_server.body()
