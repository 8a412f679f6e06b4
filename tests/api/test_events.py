"""``GET /events``: pages, filters, visibility, and a stream that clients continue."""

import datetime as dt
import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth import get_user_model

from events import stream
from events.kinds import Kind
from events.recording import record
from provisioner.access import health
from provisioner.access.authorization_server import (
    OidcClient,
    OidcServer,
    authorization_server_store,
)
from provisioner.access.principals import Role
from provisioner.access.revocation import revocations_clear_cache, token_revoke
from provisioner.access.tokens import token_identify, token_issue
from tests.api.events_steps import followers_left
from tests.conftest import Answer, Api
from tests.oidc.token_server import key, pem

pytestmark = pytest.mark.django_db(transaction=True)
LOST = {"volume": "v1", "alias": "a", "tenant": "t1", "reason": "its node lost it"}


@pytest.fixture(autouse=True)
def _no_follower_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let streams read new events often, and wait until they have ended."""
    monkeypatch.setattr(stream, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(stream, "KEEP_ALIVE_SECONDS", 0.1)
    yield
    monkeypatch.setattr(stream, "FOLLOW_SECONDS", 0.0)
    followers_left()


def numbers(answer: Answer) -> list[int]:
    assert answer.http == 200, answer
    return [event["number"] for event in answer.body]


@contextmanager
def following(api: Api, path: str = "/events?follow=true", **headers: str) -> Iterator[Any]:
    """A client that follows the log. Yields the response, whose lines are read one by one."""
    where = urlsplit(api.url)
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=60)
    with closing(connection):
        connection.request("GET", path, headers={"Authorization": api.authorization} | headers)
        with connection.getresponse() as response:  # the response holds the socket
            yield response


def has_ended(response: Any) -> bool:
    """Whether the stream ends before 500 more messages. Each comment comes 0.1 s after another."""
    return any(response.readline() == b"" for _ in range(1000))


def message(response: Any) -> dict[str, str]:
    """Return the fields of the next message. Comments are skipped."""
    fields: dict[str, str] = {}
    while True:
        line = response.readline().decode().rstrip("\n")
        if not line and "data" in fields:
            return fields
        name, _, value = line.partition(": ")
        if line and name:
            fields[name] = value


def test_an_event_shows_what_happened_to_which_objects_by_whom_and_why(api: Api) -> None:
    record(Kind.DATA_LOST, **LOST, backend=["n1"], gib=3)
    (event,) = api.get("/events").body
    assert (event["kind"], event["severity"]) == ("DataLost", "critical")
    assert event["text"] == "The last current replica of volume a is Missing: its node lost it"
    assert event["reason"] == "its node lost it"
    assert event["actor"]["type"] == "command"
    assert event["tenantId"] == "t1"
    assert event["objects"] == [
        {"type": "volume", "id": "v1"},
        {"type": "backend", "id": "n1"},
        {"type": "tenant", "id": "t1"},
    ]
    assert event["details"] == {"alias": "a", "gib": 3}


def test_events_are_filtered_and_read_page_by_page(api: Api) -> None:
    record(Kind.BACKEND_CORDONED, backend="n1")
    record(Kind.DATA_LOST, **LOST)
    record(Kind.BACKEND_UNCORDONED, backend="n1")
    first, lost, last = numbers(api.get("/events"))
    for query, expected in (
        ("about=backend:n1", [first, last]),
        ("about=v1", [lost]),
        ("severity=Warning", [lost]),
        ("kind=datalost,BackendCordoned", [first, lost]),
        ("actor=nobody", []),
        ("requestId=x", []),
        ("since=2999-01-01T00:00:00Z", []),
        ("since=2020-01-01", [first, lost, last]),
        ("until=2999-01-01T00:00:00Z&limit=2", [first, lost]),
        (f"marker={first}", [lost, last]),
        (f"marker={last}&newestFirst=true", [lost, first]),
        ("newestFirst=true&limit=1", [last]),
    ):
        assert numbers(api.get(f"/events?{query}")) == expected, query


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        ("severity=bad", "severity = 'bad': must be one of info, warning, error, critical"),
        ("limit=1001", "limit = '1001'"),
        ("kind=Nothing", "kind"),
        ("since=yesterday", "since = 'yesterday': must be a time such as 2026-11-23T13:00:00Z"),
        ("follow=true&newestFirst=true", "newestFirst = 'true': cannot be combined with follow"),
    ],
)
def test_a_wrong_filter_is_named(api: Api, query: str, rule: str) -> None:
    answer = api.get(f"/events?{query}")
    assert answer.status == "InvalidInput", answer
    assert rule in answer.description


def test_a_tenants_caller_sees_the_events_of_its_tenant_only(api: Api) -> None:
    record(Kind.DATA_LOST, **LOST)
    record(Kind.DATA_LOST, **LOST | {"tenant": "t2"})
    record(Kind.BACKEND_CORDONED, backend="n1")
    mine, *_ = numbers(api.get("/events"))
    tenants = api.as_role("MONITOR", tenant="t1")
    assert numbers(tenants.get("/events")) == [mine]
    assert numbers(tenants.get("/events?about=tenant:t2")) == []


@pytest.mark.parametrize("role", ["STORAGE", "HOST"])
def test_storage_and_host_tokens_do_not_read_events(api: Api, role: str) -> None:
    assert api.as_role(role).get("/events").http == 403


def test_a_follower_gets_new_events_and_continues_after_the_last_one(api: Api) -> None:
    record(Kind.BACKEND_CORDONED, backend="before")
    with following(api) as response:
        assert response.getheader("Content-Type") == "text/event-stream"
        record(Kind.BACKEND_CORDONED, backend="n1")
        first = message(response)
    shown = json.loads(first["data"])
    assert shown["objects"] == [{"type": "backend", "id": "n1"}]
    assert (first["id"], first["event"]) == (str(shown["number"]), "BackendCordoned")
    record(Kind.BACKEND_UNCORDONED, backend="n1")
    with following(api, **{"Last-Event-ID": first["id"]}) as response:
        assert message(response)["event"] == "BackendUncordoned"


def test_a_wrong_last_event_id_is_refused(api: Api) -> None:
    with following(api, **{"Last-Event-ID": "x"}) as response:
        assert b"InvalidInput" in response.read()


def test_further_followers_are_refused_with_a_time_to_retry(api: Api, settings: Any) -> None:
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"api_threads": 2})
    with following(api) as first:
        assert first.status == 200
        with following(api) as second:
            assert second.status == 429
        assert api.get("/events").http == 200
    followers_left()
    with following(api) as third:
        assert third.status == 200


def test_a_stream_ends_after_its_time_and_says_when_to_reconnect(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "FOLLOW_SECONDS", 0.0)
    with following(api) as response:
        assert response.read() == b"retry: 1000\n\n"


def test_a_stream_ends_when_its_process_is_stopped(api: Api) -> None:
    stopping = health._stopping
    with following(api) as response:
        stopping.set()
        try:
            assert response.read().startswith(b"retry: 1000\n\n")
        finally:
            stopping.clear()


def _end_by_revocation(token: str) -> None:
    token_id, expires_at = token_identify(token)
    token_revoke(token_id=token_id, expires_at=expires_at)


def _end_by_deactivation(token: str) -> None:
    get_user_model().objects.update(is_active=False)
    revocations_clear_cache()


def _end_by_mode(token: str) -> None:
    client = OidcClient(client_id="c", resource_id="r", secret="s")
    url, public = "https://127.0.0.1/token", pem(key(2))
    authorization_server_store(
        OidcServer(token_url=url, public_key=public, provisioner=client, backends=client)
    )


@pytest.mark.parametrize("end", [_end_by_revocation, _end_by_deactivation, _end_by_mode])
def test_a_stream_ends_when_its_token_is_no_longer_valid(
    api: Api, local_mode: None, make_user: Callable[..., Any], end: Callable[[str], None]
) -> None:
    make_user("op", "right password", "MONITOR")
    token, _ = token_issue(
        name="op/x", roles=[Role.MONITOR], user="op", lifetime=dt.timedelta(hours=1)
    )
    with following(Api(api.url, f"Bearer {token}")) as response:
        assert response.readline() == b"retry: 1000\n"
        end(token)
        assert has_ended(response)


@pytest.mark.parametrize("change", ["password", "roles"])
def test_a_stream_ends_when_its_user_is_changed(
    api: Api, make_user: Callable[..., Any], change: str
) -> None:
    header = make_user("op", "right password", "MONITOR")["Authorization"]
    user = get_user_model().objects.get(username="op")
    with following(Api(api.url, header)) as response:
        assert response.readline() == b"retry: 1000\n"
        if change == "password":
            user.set_password("another password")
            user.save()
        else:
            user.groups.clear()
        assert has_ended(response)


def test_an_idle_stream_is_kept_alive(api: Api) -> None:
    with following(api) as response:
        lines = [response.readline() for _ in range(3)]
    assert lines == [b"retry: 1000\n", b"\n", b": nothing new\n"]
