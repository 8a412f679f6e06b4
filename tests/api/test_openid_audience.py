"""The tokens of the authorization server that are accepted, and how its keys are read."""

import pytest

from provisioner.access.authorization_server import authorization_server_clear_cache
from provisioner.access.models import AuthorizationServer
from tests.api.wire import bearer, refused, send
from tests.oidc.token_server import NODES

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/auth_server"
ADFS = {"resource_access": None, "roles": ["ADMIN"], "aud": "another-application"}


@pytest.fixture
def get(live_server):
    return lambda token: send(live_server.url, "GET", "/tenants", headers=bearer(token))


@pytest.fixture
def no_audience(api, token_server):
    body = token_server.body(authorizationServerAudience=None)
    assert api.post(PATH, body).status == "Success"
    return token_server


@pytest.mark.parametrize("client", ["another-application", NODES])
def test_a_token_of_another_application_needs_the_audience(no_audience, get, client):
    description = refused(get(no_audience.token(client, **ADFS)), 401, "Unauthorized")
    assert "set authorizationServerAudience" in description


def test_a_role_at_the_configured_resource_needs_no_audience(no_audience, get):
    assert get(no_audience.token()).http == 200
    other = {"resource_access": {"another-application": {"roles": ["ADMIN"]}}}
    refused(get(no_audience.token("x", **other)), 403, "Forbidden")
    refused(get(no_audience.token(NODES, **other)), 401, "Unauthorized")


def test_a_server_whose_roles_name_no_resource_needs_an_audience(api, token_server):
    token_server.claims = {"prov": ADFS, NODES: ADFS}
    answer = api.post(PATH, token_server.body(authorizationServerAudience=None))
    assert answer.status == "ProvisionerClientUnauthorized"
    assert "only if an audience is set" in answer.description


def test_keys_are_read_over_https_only(admin, api, token_server, settings, get):
    assert api.post(PATH, token_server.body()).status == "Success"
    token = token_server.token()
    assert get(token).http == 200
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"auth_server_http": False})
    authorization_server_clear_cache()
    description = refused(get(token), 503, "ServiceUnavailable")
    assert "must be fetched over https" in description
    answer = admin.post(PATH, token_server.body())
    assert (answer.http, answer.status) == (400, "InvalidInput")
    assert "must be an https URL" in answer.description
    assert AuthorizationServer.objects.count() == 1
