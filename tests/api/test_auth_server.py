"""``/auth_server`` (reference, "Authorization Server Config API's")."""

import logging
import time

import jwt
import pytest
from django.db import connection
from django.utils import timezone
from pydantic import SecretStr

from inventory.models import Backend
from inventory.services.authorization import authorization_server_delete
from provisioner.access.authorization_server import (
    authorization_server_clear_cache,
    authorization_server_current,
    authorization_server_refresh,
)
from provisioner.access.models import AuthorizationServer
from tests.api.wire import bearer, send
from tests.conftest import Api
from tests.oidc.token_server import NODES, PROVISIONER, SECRETS, Reply, pem

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/auth_server"
CLIENTS = [(PROVISIONER, "ProvisionerClient"), (NODES, "BackendsClient")]


class TestSuccess:
    def test_a_real_server_can_be_set_and_removed(self, admin, real_server, pool, fleet):
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

    def test_nodes_get_what_they_need_to_fetch_tokens(self, admin, token_server, pool, fleet):
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

    def test_token_requests_carry_client_secret_and_scope(self, admin, token_server):
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
    def test_roles_in_the_form_of_adfs_are_accepted(self, admin, token_server, roles):
        for client, _ in CLIENTS:
            token_server.claims[client] = {
                "resource_access": None, "azp": None, "appid": client, "roles": roles,
            }  # fmt: skip
        assert admin.post(PATH, token_server.body()).status == "Success"

    def test_a_server_with_a_private_ca_needs_auth_server_ca(
        self, admin, authority, settings, local_mode
    ):
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

    def test_another_server_replaces_the_present_one(self, admin, token_server, real_server):
        assert admin.post(PATH, token_server.body()).status == "Success"
        assert admin.post(PATH, real_server.body()).status == "Success"
        assert admin.get(PATH).body == real_server.body()

    @pytest.mark.parametrize("field", ["provisionerClientScope", "backendsClientScope"])
    def test_a_body_with_one_changed_field_is_stored(self, admin, token_server, field):
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
    def test_a_wrong_field_is_refused_and_named(self, api, token_server, changes, named):
        answer = api.post(PATH, token_server.body(**changes))
        assert (answer.http, answer.status) == (400, "InvalidInput")
        assert named in answer.description
        assert token_server.asked == []

    @pytest.mark.parametrize(
        "field", ["authorizationServerJwkSetURL", "authorizationServerTokenURL"]
    )
    def test_a_password_in_a_url_is_refused_and_not_shown(self, api, token_server, caplog, field):
        answer = api.post(PATH, token_server.body(**{field: "https://user:PASSPHRASE@host/keys"}))
        assert (answer.http, answer.status) == (400, "InvalidInput")
        assert "without user and password" in answer.description
        assert "PASSPHRASE" not in answer.description + caplog.text

    def test_a_public_key_together_with_a_key_set_is_refused(self, api, token_server):
        body = token_server.body(authorizationServerPublicKey=pem(token_server.key))
        assert api.post(PATH, body).status == "InvalidInput"

    def test_field_names_may_be_in_any_case(self, api, token_server):
        body = {f" {name.upper()} ": value for name, value in token_server.body().items()}
        assert api.post(PATH, body).status == "Success"


class TestDelete:
    def test_delete_is_refused_in_local_mode(self, api, local_mode):
        assert api.delete(PATH).status == "InvalidAuthMode"

    @pytest.mark.parametrize("fault", ["silent", "down"])
    def test_delete_is_refused_while_a_node_is_unavailable(
        self, admin, token_server, pool, fleet, fault
    ):
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

    def test_the_earliest_expiry_of_the_new_node_tokens_is_stored(
        self, admin, token_server, pool, fleet
    ):
        """The tokens are issued one after another, here more than a second apart."""
        pool(2)
        assert admin.post(PATH, token_server.body()).status == "Success"

        def slowly(execute, sql, *args):
            if "inventory_pool" in sql:
                time.sleep(1.1)
            return execute(sql, *args)

        with connection.execute_wrapper(slowly):
            authorization_server_delete()
        tokens = [node.agent.provisioner.token for node in fleet.nodes[:2]]
        first, second = (
            jwt.decode(token, options={"verify_signature": False})["exp"] for token in tokens
        )
        assert first < second
        stored = Backend.objects.values_list("token_expires_at", flat=True)
        assert [at.timestamp() for at in stored] == [first, first]


def test_a_refresh_does_not_bring_back_a_server_that_was_removed_meanwhile(token_server, admin):
    """The refresh has read the server when another thread removes it."""
    assert admin.post(PATH, token_server.body()).status == "Success"

    def then_remove(execute, sql, *args):
        result = execute(sql, *args)
        admin.delete(PATH)
        return result

    authorization_server_clear_cache()
    with connection.execute_wrapper(then_remove):
        authorization_server_refresh()
    assert authorization_server_current() is None


class TestSecrets:
    def test_secrets_are_encrypted_at_rest_and_shown_to_the_admin_only(
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

    def test_secrets_are_not_logged(self, admin, token_server, pool, caplog):
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

    def test_secrets_that_no_key_decrypts_can_be_set_again(self, admin, token_server, settings):
        assert admin.post(PATH, token_server.body()).status == "Success"
        settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(
            update={"data_keys": (SecretStr("another key" * 4),)}
        )
        authorization_server_clear_cache()
        hidden = {"provisionerClientSecret": None, "backendsClientSecret": None}
        assert admin.get(PATH).body == token_server.body(**hidden)
        assert send(admin.url, "GET", "/backends", headers=bearer(token_server.token())).http == 200
        assert admin.post(PATH, token_server.body()).status == "Success"
        assert admin.get(PATH).body == token_server.body()
