"""A change of the authentication mode reaches every API process."""

import base64
import time
from collections.abc import Iterator

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from tests.conftest import Api
from tests.oidc.token_server import TokenServer
from tests.system.conftest import Production

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

SWITCH_SECONDS = 5
"""After this time, no process uses the mode of before."""
CALLS = 12


@pytest.fixture
def server() -> Iterator[TokenServer]:
    server = TokenServer()
    yield server
    server.close()


@pytest.fixture
def admin(production: Production) -> Api:
    user = get_user_model().objects.create_user("admin", password="a password of tests")
    user.groups.set(Group.objects.filter(name="ADMIN"))
    credentials = base64.b64encode(b"admin:a password of tests").decode()
    return Api(production.url, f"Basic {credentials}")


def answers(url: str, authorization: str) -> set[int]:
    """Return the answers of new connections, so that all processes are called."""
    closing = {"Authorization": authorization, "Connection": "close"}
    import urllib3

    return {
        urllib3.request("GET", f"{url}/tenants", headers=closing, retries=False).status
        for _ in range(CALLS)
    }


def test_a_changed_mode_reaches_every_process_in_time(
    production: Production, admin: Api, server: TokenServer
) -> None:
    local = production.api.authorization
    assert answers(production.url, local) == {200}
    assert admin.post("/auth_server", server.body()).status == "Success"
    time.sleep(SWITCH_SECONDS)
    assert answers(production.url, f"Bearer {server.token()}") == {200}
    assert answers(production.url, local) == {401}
    assert answers(production.url, admin.authorization) == {200}
    assert admin.delete("/auth_server").status == "Success"
    time.sleep(SWITCH_SECONDS)
    assert answers(production.url, local) == {200}
    assert answers(production.url, f"Bearer {server.token()}") == {401}
