"""One caller has a bounded number of requests under way in a process, and all others go on."""

import threading
from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from provisioner.access import turns
from provisioner.access.callers import Caller, Role
from tests.api.faulty_urls import HeldViewSet
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
    """A caller that has all the requests under way that it may."""
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


def test_one_more_is_refused_at_once(busy: Api) -> None:
    answer = get(busy, "/tasks")
    description = refused(answer, 429, "TooManyRequests")
    assert description.endswith("2 requests of this caller are under way: try again")
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    "other",
    [{"roles": ["MONITOR"]}, {"roles": ["ADMIN"], "tenant": "t2"}, {"roles": ["HOST"]}],
)
def test_others_are_served(busy: Api, other: dict[str, object]) -> None:
    roles = other.pop("roles")
    assert get(busy.as_role(*roles, **other), "/tasks").http == 200  # type: ignore[misc,arg-type]


def test_each_host_counts_alone(busy: Api, settings: Settings) -> None:
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"caller_requests": 1})
    first, second = (turns.turn_of(_caller(host)) for host in ("h1", "h2"))
    with first, second, pytest.raises(turns.TooManyAtOnce), turns.turn_of(_caller("h1")):
        pass


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_checks_are_of_nobody(busy: Api, path: str) -> None:
    assert get(busy, path).http == 200


def test_a_turn_ends_with_its_answer(
    live_server: LiveServer, settings: Settings, base_rows: None
) -> None:
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"caller_requests": 1})
    caller = Api(live_server.url, "").as_role("ADMIN")
    seen = [get(caller, path).http for path in ["/tasks", "/unlisted", "/volumes/%ff", "/tasks"]]
    assert seen == [200, 403, 400, 200]
    assert not turns._running


def _caller(host: str) -> Caller:
    return Caller("agents", frozenset({Role.HOST}), host_id=host)
