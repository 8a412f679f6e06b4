"""``/healthz``, ``/readyz`` and the schema."""

import socket
import time
from typing import Any

import pytest
from django.db import connections

from provisioner.access import health
from tests.api.wire import refused, send
from tests.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def get(live_server):
    return lambda path: send(live_server.url, "GET", path)


@pytest.fixture
def deaf():
    """Return a port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=32) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def database():
    """Send new database connections to another address."""
    connection: Any = connections["default"]
    original = connections.databases["default"]

    def move(**place):
        connection.close_pool()
        connections.databases["default"] = original | place

    yield move
    connection.close_pool()
    connections.databases["default"] = original


def test_healthz_answers_while_the_process_is_alive(get):
    answer = get("/healthz")
    assert (answer.http, answer.body) == (200, {"status": "Success", "description": "Success"})


def test_readyz_answers_while_the_database_works(get):
    answer = get("/readyz")
    assert (answer.http, answer.status) == (200, "Success")


def test_readyz_does_not_need_the_broker(get, settings):
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"
    assert get("/readyz").http == 200


def test_readyz_fails_while_the_database_cannot_be_reached(get, database):
    database(HOST="127.0.0.1", PORT=1)
    description = refused(get("/readyz"), 503, "ServiceUnavailable")
    assert description == "HTTP Status 503 - the database cannot be reached"
    assert get("/healthz").http == 200


def test_readyz_fails_within_3_s_if_the_database_does_not_answer(get, database, deaf):
    database(HOST="127.0.0.1", PORT=deaf)
    started = time.monotonic()
    description = refused(get("/readyz"), 503, "ServiceUnavailable")
    assert description == "HTTP Status 503 - the database cannot be reached"
    assert time.monotonic() - started < 3


def test_readyz_answers_while_all_connections_of_the_process_are_in_use(get):
    default: Any = connections["default"]
    if default.vendor != "postgresql":
        pytest.skip("PostgreSQL only")
    default.close()
    default.pool.open()
    most = default.settings_dict["OPTIONS"]["pool"]["max_size"]
    held = [default.pool.getconn(timeout=5) for _ in range(most)]
    try:
        for _ in range(3):
            started = time.monotonic()
            assert get("/readyz").http == 200
            assert time.monotonic() - started < health.CHECK_SECONDS
    finally:
        for one in held:
            default.pool.putconn(one)


def test_readyz_fails_while_the_database_is_read_only(get, api, database):
    """This is the case after a failover, when the old server has become a standby."""
    original = connections["default"].settings_dict["OPTIONS"]
    read_only = f"{original['options']} -c default_transaction_read_only=on"
    database(OPTIONS=original | {"options": read_only})
    description = refused(get("/readyz"), 503, "ServiceUnavailable")
    assert description == "HTTP Status 503 - the database is read-only"
    description = refused(api.get("/volumes"), 503, "ServiceUnavailable")
    assert description == "HTTP Status 503 - the database is read-only; try again"
    database()
    eventually(lambda: get("/readyz").http == 200, seconds=2, what="ready again")


def test_readyz_fails_while_the_process_is_being_stopped(get):
    health.stop_serving()
    try:
        description = refused(get("/readyz"), 503, "ServiceUnavailable")
    finally:
        health._stopping.clear()
    assert description == "HTTP Status 503 - this process is being stopped"


def test_the_schema_names_the_credentials_of_each_operation(get):
    answer = get("/openapi.json")
    assert answer.body["openapi"].startswith("3.1")
    paths = answer.body["paths"]
    assert paths["/token"]["post"]["security"] == [{"basic": []}]
    assert set(answer.body["components"]["securitySchemes"]) == {"basic", "bearer"}
    assert paths["/healthz"]["get"]["security"] == []
