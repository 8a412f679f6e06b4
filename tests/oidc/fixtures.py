"""Authorization servers. The conftest of tests that need them imports these fixtures."""

from collections.abc import Iterator

import pytest
from pytest_django.live_server_helper import LiveServer

from provisioner.access.authorization_server import authorization_server_clear_cache
from tests.conftest import Api
from tests.oidc.real_server import NoOidcServer, RealServer
from tests.oidc.token_server import TokenServer


@pytest.fixture
def admin(live_server: LiveServer, admin_header: dict[str, str]) -> Api:
    """The API, called by a local user of role ADMIN with a password. This works in both modes."""
    return Api(live_server.url, admin_header["Authorization"])


@pytest.fixture
def local_mode() -> Iterator[None]:
    """Make this process forget a server that a test set."""
    authorization_server_clear_cache()
    yield
    authorization_server_clear_cache()


@pytest.fixture
def token_server(local_mode: None) -> Iterator[TokenServer]:
    server = TokenServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def _running_real_server() -> Iterator[RealServer]:
    try:
        server = RealServer()
    except NoOidcServer as missing:
        pytest.fail(f"the OpenID Connect server of the tests: {missing}", pytrace=False)
    yield server
    server.stop()


@pytest.fixture
def real_server(_running_real_server: RealServer, local_mode: None) -> RealServer:
    """The certified ``oidc-provider``, with a new key for each test."""
    _running_real_server.rotate(drop=True)
    return _running_real_server
