"""Probes that a host repeats are answered from memory, and stored together soon after."""

import datetime as dt
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from events.models import Event
from inventory.models import Host
from inventory.services.pool.identity import database_confirm, database_doubt_set
from provisioner.access.principals import Role
from provisioner.common import clock, writes
from tests.api.poller_steps import CHANGING, PLAIN, TRIES, Poller, one_answer, token
from tests.api.server_steps import Server
from tests.waiting import eventually
from volumes.services.host.repeated import STALE_SECONDS

pytestmark = pytest.mark.django_db(transaction=True)

HOST = "repeating-host"
NQN = "nqn.2014-08.org.nvmexpress:uuid:repeating-host"
OTHER_NQN = f"{NQN}-2"
PROBE: dict[str, Any] = {
    "hostId": HOST,
    "hostNqn": NQN,
    "name": "n1",
    "clientType": "Openstack",
    "version": "3.22.170",
    "duration": 30,
}


@pytest.fixture
def credentials() -> str:
    return f"Bearer {token(Role.ADMIN)}"


@pytest.fixture(autouse=True)
def _rows(base_rows: None, poller: Poller, credentials: str) -> Iterator[None]:
    """Afterwards, the server stores what the test has left in its memory."""
    yield
    asked = repeated(poller, credentials, hostId="last", hostNqn=f"{NQN}-last")
    last = Host.objects.filter(pk="last", last_probe_at__gte=asked)
    eventually(last.exists, seconds=30, what="the last probe is not stored")


def probe(poller: Poller, credentials: str, *more: str, **fields: Any) -> bytes:
    body = json.dumps(PROBE | fields)
    return poller.send("/host_probe", credentials, *more, method="POST", body=body)


def known(poller: Poller, credentials: str, *more: str, **fields: Any) -> bytes:
    return poller.known(lambda: probe(poller, credentials, *more, **fields))


def repeated(poller: Poller, credentials: str, **fields: Any) -> dt.datetime:
    """Send a probe until it is answered from memory. Returns the time before that one."""
    asked = []

    def send() -> bytes:
        asked.append(clock.now())
        return probe(poller, credentials, **fields)

    poller.known(send)
    return asked[-1]


def last_probe_at() -> dt.datetime:
    return Host.objects.get(pk=HOST).last_probe_at


@contextmanager
def other_session() -> Iterator[psycopg.Connection[Any]]:
    settings = connection.get_connection_params()
    wanted = {n: settings[n] for n in ("host", "port", "user", "dbname") if settings.get(n)}
    with psycopg.connect(**wanted) as session:
        yield session


@pytest.mark.parametrize(
    ("roles", "bindings", "more", "fields"),
    [
        ([Role.ADMIN], {}, [], {}),
        ([Role.HOST], {"host_id": HOST}, ["user-agent: agent/3.22"], {"multipath": True}),
        ([Role.STORAGE], {}, ["content-type: application/json"], {"usedNamespacesIds": [3, 1]}),
        ([Role.ADMIN], {}, [], {"unknown": 1}),
    ],
)
def test_an_answer_from_memory_has_the_same_bytes_as_the_apis(
    poller: Poller,
    roles: list[Role],
    bindings: dict[str, Any],
    more: list[str],
    fields: dict[str, Any],
) -> None:
    credentials = f"Bearer {token(*roles, **bindings)}"
    by_the_api = probe(poller, credentials, *more, **fields)
    assert poller.is_logged(by_the_api)
    from_memory = known(poller, credentials, *more, **fields)
    assert CHANGING.sub(b"-", from_memory) == CHANGING.sub(b"-", by_the_api)
    assert b'"Success"' in from_memory


def test_what_a_repeated_probe_says_is_stored(poller: Poller, credentials: str) -> None:
    fields = {"name": "n2", "usedNamespacesIds": [7], "duration": 20}
    known(poller, credentials, **fields)
    Host.objects.update(name="x", version="x", duration=1, used_namespace_ids=[], agent_until=None)
    before = repeated(poller, credentials, **fields)
    eventually(lambda: Host.objects.get().name == "n2", seconds=30, what="it is not stored")
    host = Host.objects.get()
    assert (host.version, host.duration) == (PROBE["version"], 20)
    assert host.used_namespace_ids == [7]
    assert before <= host.last_probe_at <= clock.now()
    assert host.available_until == host.agent_until == host.last_probe_at + dt.timedelta(seconds=60)


def test_namespace_ids_that_a_repeated_probe_does_not_report_stay(
    poller: Poller, credentials: str
) -> None:
    known(poller, credentials)
    Host.objects.update(used_namespace_ids=[9])
    before = last_probe_at()
    known(poller, credentials)
    eventually(lambda: last_probe_at() > before, seconds=5, what="it is not stored")
    assert Host.objects.get().used_namespace_ids == [9]


def test_the_last_of_two_different_probes_counts(poller: Poller, credentials: str) -> None:
    for _ in range(TRIES):
        known(poller, credentials, name="first")
        assert poller.is_logged(probe(poller, credentials, name="second"))
        time.sleep(STALE_SECONDS)
        assert Host.objects.get().name == "second"
        assert poller.is_logged(probe(poller, credentials, name="first"))
        assert Host.objects.get().name == "first"


def test_a_host_that_was_deleted_meanwhile_is_there_again(poller: Poller, credentials: str) -> None:
    known(poller, credentials)
    while poller.is_logged(probe(poller, credentials)):
        pass
    Host.objects.all().delete()
    eventually(Host.objects.exists, seconds=5, what="the host is not there again")
    first, again = Event.objects.filter(kind="HostAdded").order_by("number")
    assert first.actor_type == Event.Actor.CALLER
    assert (again.actor_type, again.actor) == (Event.Actor.HOST, HOST)
    assert poller.is_logged(probe(poller, credentials))
    known(poller, credentials)


def test_a_host_whose_nqn_another_process_changed_gets_it_back(
    poller: Poller, credentials: str
) -> None:
    """As if the two probes had been handled one after the other."""
    known(poller, credentials)
    Host.objects.update(nqn=OTHER_NQN)
    while poller.is_logged(probe(poller, credentials)):
        pass
    eventually(lambda: Host.objects.get().nqn == NQN, seconds=5, what="it has the other NQN")


def test_a_host_whose_nqn_is_taken_is_told_with_the_next_probe(
    poller: Poller, credentials: str
) -> None:
    known(poller, credentials)
    Host.objects.all().delete()
    answer = probe(poller, credentials, hostId="other")
    assert b'"Success"' in answer
    probe(poller, credentials)
    time.sleep(STALE_SECONDS)
    for _ in range(TRIES):
        assert b'"AlreadyExists"' in probe(poller, credentials)
    assert [host.pk for host in Host.objects.all()] == ["other"]


def test_a_probe_is_refused_in_time_while_writes_are_barred(
    poller: Poller, credentials: str
) -> None:
    known(poller, credentials)
    database_doubt_set("it is older")
    try:
        time.sleep(writes.STALE_SECONDS)
        for _ in range(TRIES):
            assert probe(poller, credentials).startswith(b"HTTP/1.1 503 ")
    finally:
        database_confirm()
    known(poller, credentials)


def test_no_probe_is_answered_from_memory_while_probes_cannot_be_stored(
    poller: Poller, credentials: str
) -> None:
    known(poller, credentials)
    body = json.dumps(PROBE)
    request = poller.request("/host_probe", credentials, method="POST", body=body)
    with other_session() as session, poller.server.connected(seconds=5) as connected:
        session.execute("SELECT 1 FROM inventory_host FOR UPDATE")
        connected.sendall(request)
        one_answer(connected)
        time.sleep(STALE_SECONDS)
        connected.settimeout(1)
        connected.sendall(request)
        with pytest.raises(TimeoutError):
            one_answer(connected)
    known(poller, credentials)


def locked_while_it_waits(
    session: psycopg.Connection[Any], repeat: Callable[[], dt.datetime]
) -> None:
    """Lock the row of the host while a probe of it waits to be stored."""
    while True:
        asked = repeat()
        session.execute("SELECT 1 FROM inventory_host WHERE uuid = %s FOR UPDATE", [HOST])
        if last_probe_at() < asked:
            return
        session.rollback()


def test_a_host_whose_row_is_locked_delays_no_other(poller: Poller, credentials: str) -> None:
    other = {"hostId": "other", "hostNqn": OTHER_NQN}

    def polls_are_known() -> bool:
        polls = [poller.send("/tasks?hostId=idle", credentials) for _ in range(5)]
        return not any(map(poller.is_logged, polls))

    known(poller, credentials, **other)
    with other_session() as session:
        locked_while_it_waits(session, partial(repeated, poller, credentials))
        before = last_probe_at()
        Host.objects.filter(pk="other").update(name="before")
        time.sleep(2 * STALE_SECONDS)
        eventually(polls_are_known, seconds=8, what="the row delays what polls need")
        eventually(
            lambda: not poller.is_logged(probe(poller, credentials, **other)),
            seconds=8,
            what="the row delays other probes",
        )
        stored = Host.objects.filter(pk="other", name=PROBE["name"])
        eventually(stored.exists, seconds=30, what="the other host waits")
        assert last_probe_at() == before
    eventually(lambda: last_probe_at() > before, seconds=30, what="it was not stored later")


@pytest.mark.parametrize(
    ("roles", "bindings", "more", "fields"),
    [
        ([Role.ADMIN], {}, [], {"version": "cinder-driver-0.1"}),
        ([Role.STORAGE], {"tenant_id": "acme"}, [], {}),
        ([Role.ADMIN], {}, ["x-request-id: of-the-caller"], {}),
        ([Role.ADMIN], {}, ["expect: 100-continue"], {}),
        ([Role.ADMIN], {}, [], {"duration": 0}),
        ([Role.HOST], {"host_id": "another"}, [], {}),
    ],
)
def test_all_other_probes_are_answered_by_the_api(
    poller: Poller,
    credentials: str,
    roles: list[Role],
    bindings: dict[str, Any],
    more: list[str],
    fields: dict[str, Any],
) -> None:
    known(poller, credentials)  # so the data is fresh
    if bindings.get("tenant_id"):
        Host.objects.update(tenant_id="acme")
    caller = f"Bearer {token(*roles, **bindings)}"
    for _ in range(TRIES):
        assert poller.is_logged(probe(poller, caller, *more, **fields))


def test_a_probe_that_arrives_in_two_parts_is_answered_by_the_api(
    poller: Poller, credentials: str
) -> None:
    known(poller, credentials)
    body = json.dumps(PROBE)
    request = poller.request("/host_probe", credentials, method="POST", body=body, end="close")

    def is_logged() -> bool:
        with poller.server.connected() as connected:
            connected.sendall(request[: -len(body)])
            time.sleep(0.1)
            connected.sendall(request[-len(body) :])
            return poller.is_logged(connected.makefile("rb").read())

    eventually(is_logged, seconds=10, what="the server received the parts together")


def test_probes_that_wait_are_stored_when_the_process_is_stopped(
    tmp_path: Path, credentials: str
) -> None:
    server = Server(tmp_path, **PLAIN)
    poller = Poller(server)
    try:
        known(poller, credentials)
        Host.objects.update(name="before")
        while poller.is_logged(probe(poller, credentials)):
            Host.objects.update(name="before")
    finally:
        server.stop()
        poller.close()
    assert Host.objects.get().name == PROBE["name"]
