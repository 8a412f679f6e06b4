"""A caller has a bounded number of concurrent requests in a process; others are not affected."""

import datetime as dt
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from contextvars import copy_context
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer
from rest_framework.test import APIRequestFactory

from provisioner.access import authorization_server, concurrency
from provisioner.access.principals import Caller, Role
from provisioner.access.tokens import token_issue, token_verify
from provisioner.common import known_answers
from provisioner.common.lanes import Bounds
from tasks import busy_hosts
from tasks.views import TaskViewSet
from tests.api.faulty_urls import HeldViewSet
from tests.api.poller_steps import PLAIN, Poller
from tests.api.poller_steps import token as poller_token
from tests.api.server_steps import Server
from tests.api.wire import refused, send
from tests.conftest import Answer, Api

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.api.faulty_urls"),
]
MOST = 2


def get(api: Api, path: str) -> Answer:
    return send(api.url, "GET", path, headers={"Authorization": api.authorization})


@pytest.fixture
def busy(live_server: LiveServer, settings: Settings, base_rows: None) -> Iterator[Api]:
    """A caller with the maximum number of concurrent requests."""
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"caller_requests": MOST})
    caller = Api(live_server.url, "").as_role("ADMIN")
    HeldViewSet.goes_on_now.clear()
    threads = [threading.Thread(target=get, args=(caller, "/held")) for _ in range(MOST)]
    for thread in threads:
        thread.start()
        assert HeldViewSet.begun.acquire(timeout=30)
    yield caller
    HeldViewSet.goes_on_now.set()
    for thread in threads:
        thread.join(30)


def test_one_more_waits_for_a_turn(busy: Api) -> None:
    with ThreadPoolExecutor(1) as third:
        answer = third.submit(get, busy, "/tasks")
        while not concurrency._turns._waiting:
            assert not answer.done()
        HeldViewSet.goes_on_now.set()
        assert answer.result(30).http == 200


def test_a_poll_that_is_answered_from_memory_needs_no_turn(
    settings: Settings, base_rows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(busy_hosts, "STALE_SECONDS", 60.0)
    monkeypatch.setattr(authorization_server, "CACHE_SECONDS", 60.0)
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"caller_requests": 1})
    token, _ = token_issue(
        name="h", roles=[Role.HOST], host_id="h1", lifetime=dt.timedelta(hours=1)
    )
    busy_hosts.read()
    poll = APIRequestFactory().get("/tasks", headers={"Authorization": f"Bearer {token}"})
    # without the middleware, which forgets the caller afterwards
    context = copy_context()
    assert context.run(TaskViewSet.as_view({"get": "list"}), poll).status_code == 200
    is_valid = context[known_answers._declared]
    assert is_valid is not None
    assert is_valid()
    with closing(concurrency.RequestTurn(token_verify(token))):
        assert is_valid()


def test_a_wait_for_a_turn_ends_with_429(busy: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "TURN_SECONDS", 0.05)
    answer = get(busy, "/tasks")
    description = refused(answer, 429, "TooManyRequests")
    assert description.endswith("too many requests of this caller are in progress: try again")
    assert answer.headers["Retry-After"] == "1"


def test_a_caller_has_at_most_three_quarters_of_the_places(
    busy: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller that occupies three quarters of the places is refused."""
    monkeypatch.setattr(concurrency, "TURN_SECONDS", 60.0)
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"api_threads": MOST})
    places = settings.ENVIRONMENT.api_places
    with ThreadPoolExecutor(places) as callers:
        waiting = [callers.submit(get, busy, "/tasks") for _ in range(places * 3 // 4 - MOST)]
        while len(concurrency._turns._waiting) < len(waiting):
            pass
        refused(get(busy, "/tasks"), 429, "TooManyRequests")
        HeldViewSet.goes_on_now.set()
        assert {answer.result(60).http for answer in waiting} == {200}


@pytest.mark.parametrize(
    "other",
    [
        {"roles": ["ADMIN", "NODE"], "node": "n1"},
        {"roles": ["ADMIN"], "tenant": "t2"},
        {"roles": ["HOST"]},
    ],
)
def test_other_callers_are_served(busy: Api, other: dict[str, object]) -> None:
    roles = other.pop("roles")
    assert get(busy.as_role(*roles, **other), "/tasks").http == 200  # type: ignore[misc,arg-type]


def test_each_host_is_a_caller_of_its_own(
    busy: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrency, "TURN_SECONDS", 0.05)
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"caller_requests": 1})
    first, second = (concurrency.RequestTurn(_caller(host)) for host in ("h1", "h2"))
    with closing(first), closing(second), pytest.raises(concurrency.TooManyAtOnce):
        concurrency.RequestTurn(_caller("h1"))


def test_a_user_and_all_its_tokens_are_one_caller(
    busy: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever names, roles and tenants the user gives them."""
    monkeypatch.setattr(concurrency, "TURN_SECONDS", 0.05)
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"caller_requests": 1})
    user = Caller("op", frozenset({Role.ADMIN}), user="op")
    token = Caller("op/x", frozenset({Role.STORAGE}), "t1", user="op")
    with closing(concurrency.RequestTurn(user)), pytest.raises(concurrency.TooManyAtOnce):
        concurrency.RequestTurn(token)
    with closing(concurrency.RequestTurn(token)):
        with pytest.raises(concurrency.TooManyAtOnce):
            concurrency.RequestTurn(user)
        concurrency.RequestTurn(Caller("op", frozenset({Role.ADMIN}))).close()


def test_by_default_three_quarters_of_the_threads_are_one_callers(settings: Settings) -> None:
    environment = settings.ENVIRONMENT
    assert concurrency.turn_bounds() == Bounds(
        environment.api_threads, 12, concurrency.TURN_SECONDS
    )
    settings.ENVIRONMENT = environment.model_copy(update={"caller_requests": 5})
    assert concurrency.turn_bounds().most_of_one == 5


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_checks_need_no_turn(busy: Api, path: str) -> None:
    assert get(busy, path).http == 200


def test_health_checks_need_no_place(tmp_path: Path, base_rows: None) -> None:
    """A process with too many requests is neither dead nor away."""
    server = Server(tmp_path, **PLAIN, API_THREADS="1")
    poller = Poller(server)
    settings = connection.get_connection_params()
    wanted = {n: settings[n] for n in ("host", "port", "user", "dbname") if settings.get(n)}
    try:
        with psycopg.connect(**wanted) as session, ExitStack() as opened:
            session.execute("LOCK TABLE inventory_host")
            for tenant_id in (None, "t1"):
                given = poller_token(Role.ADMIN, tenant_id=tenant_id)
                request = poller.request("/hosts", f"Bearer {given}")
                for _ in range(3):
                    opened.enter_context(server.connected()).sendall(request)
            time.sleep(1)  # they occupy all four places
            for path in (b"/healthz", b"/readyz"):
                answer = server.plain(
                    b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path, seconds=8
                )
                assert answer.startswith(b"HTTP/1.1 200 "), answer
    finally:
        poller.close()
        server.stop()


def test_a_turn_ends_with_its_answer(
    live_server: LiveServer, settings: Settings, base_rows: None
) -> None:
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"caller_requests": 1})
    caller = Api(live_server.url, "").as_role("ADMIN")
    seen = [get(caller, path).http for path in ["/tasks", "/unlisted", "/volumes/%ff", "/tasks"]]
    assert seen == [200, 403, 400, 200]
    assert concurrency.all_idle()


def _caller(host: str) -> Caller:
    return Caller("agents", frozenset({Role.HOST}), host_id=host)
