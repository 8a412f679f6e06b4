"""All connections of a process are in use, or the server accepts no more."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connections
from psycopg import errors

from provisioner.common.database import unavailable
from provisioner.common.postgresql import base
from provisioner.common.postgresql.availability import PAUSE_SECONDS, Availability
from provisioner.common.postgresql.base import AllBusy
from tests.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)
LIMIT = 2
ROLE = "provisioner_limited"
Session = psycopg.Connection[Any]


@pytest.fixture
def default(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The default database, with a short wait for its pool."""
    found: Any = connections["default"]
    if found.vendor != "postgresql":
        pytest.skip("PostgreSQL only")
    monkeypatch.setitem(found.settings_dict["OPTIONS"]["pool"], "timeout", 0.2)
    found.close()
    found.close_pool()
    yield found
    found.close()
    found.close_pool()


@pytest.fixture
def limited(default: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The server accepts LIMIT connections of this process."""
    place = default.settings_dict
    with psycopg.connect(**default.get_connection_params(), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'known' CONNECTION LIMIT {LIMIT}")
        with monkeypatch.context() as patch:
            patch.setitem(place, "USER", ROLE)
            patch.setitem(place, "PASSWORD", "known")
            yield
            default.close()
            default.close_pool()
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s",
            [ROLE],
        )
        admin.execute(f"DROP ROLE {ROLE}")


def sleeps(seconds: float) -> None:
    with contextlib.closing(connections["default"]) as mine, mine.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [seconds])


@pytest.mark.usefixtures("limited")
def test_threads_share_the_connections_that_the_server_accepts() -> None:
    with ThreadPoolExecutor(4 * LIMIT) as threads:
        list(threads.map(sleeps, [0.3] * 8 * LIMIT))


@pytest.mark.usefixtures("limited")
def test_a_server_that_accepts_no_connection_is_named(
    default: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = default.get_connection_params()
    with monkeypatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(base, "BUSY_SECONDS", 0.1)
        for _ in range(LIMIT):
            stack.enter_context(psycopg.connect(**known))
        with pytest.raises(OperationalError) as raised:
            sleeps(0)
    assert unavailable(raised.value) == "the database accepts no more connections"
    sleeps(0)


@pytest.mark.usefixtures("limited")
def test_after_an_outage_no_thread_waits_for_another_ones_connection(default: Any) -> None:
    """The server is back and has no free connection at first."""
    known = default.get_connection_params()
    with ThreadPoolExecutor(4) as threads, contextlib.ExitStack() as stack:
        for _ in range(LIMIT):
            stack.enter_context(psycopg.connect(**known))
        with pytest.raises(errors.CannotConnectNow), default._server.attempt():
            raise errors.CannotConnectNow("the database is starting")
        time.sleep(PAUSE_SECONDS)
        waiting = [threads.submit(sleeps, 0)]
        eventually(
            lambda: default._server._failure is None, seconds=10, what="others may not connect"
        )
        waiting += [threads.submit(sleeps, 0) for _ in range(3)]
        time.sleep(3)  # longer than the pool itself tries to connect
        assert not any(one.done() for one in waiting)
        stack.close()
        for one in waiting:
            one.result(10)


@pytest.mark.usefixtures("limited")
def test_a_process_whose_connections_work_is_ready_when_no_more_are_accepted(
    default: Any,
) -> None:
    default.pool.open()
    held = [default.pool.getconn(timeout=5) for _ in range(LIMIT)]
    default._server.prove(held[0])
    default.check()
    default._server._proven_at = time.monotonic() - 2 * base.BUSY_SECONDS
    with pytest.raises(errors.TooManyConnections):
        default.check()
    for connection in held:
        default.pool.putconn(connection)
    default.check()


class TestQuestion:
    """One thread asks the server for all that wait."""

    THREADS = 5

    def asked(self, connect: Callable[[], Session]) -> list[psycopg.Error | None]:
        server = Availability(but=(AllBusy,))
        together = threading.Barrier(self.THREADS)

        def ask() -> psycopg.Error | None:
            together.wait()
            try:
                server.ask(connect)
            except psycopg.Error as error:
                return error
            return None

        with ThreadPoolExecutor(self.THREADS) as threads:
            outcomes = [threads.submit(ask) for _ in range(self.THREADS)]
            return [outcome.result() for outcome in outcomes]

    def test_a_good_answer_is_for_all(self, default: Any) -> None:
        opened: list[float] = []

        def connect() -> Session:
            opened.append(time.monotonic())
            time.sleep(2)
            return psycopg.connect(**default.get_connection_params())

        assert self.asked(connect) == [None] * self.THREADS
        assert len(opened) == 1

    def test_a_bad_answer_is_for_all(self) -> None:
        opened: list[float] = []

        def connect() -> Session:
            opened.append(time.monotonic())
            time.sleep(2)
            raise errors.CannotConnectNow("starting")

        answers = self.asked(connect)
        assert {type(answer) for answer in answers} == {errors.CannotConnectNow}
        assert len(opened) == 1
