"""The behaviour of a process while its database is unavailable, and when it is back."""

import contextlib
import datetime as dt
import threading
import time

import psycopg
import pytest
from django.db import (
    DatabaseError,
    DataError,
    InternalError,
    OperationalError,
    connections,
    transaction,
)
from psycopg import errors

from inventory.nodes.parallel_calls import call_all
from provisioner.common.database import CONFLICTS, is_conflict, release_connection, unavailable
from provisioner.common.postgresql import availability
from provisioner.common.postgresql.availability import (
    PAUSE_SECONDS,
    Availability,
)
from provisioner.common.postgresql.base import AllBusy
from tasks.models import TaskType
from tasks.services import task_create
from tasks.submission import task_wait

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def connection():
    made = connections["default"]
    if made.vendor != "postgresql":
        pytest.skip("PostgreSQL only")
    yield made
    made.close()  # it may be broken


@pytest.fixture
def sessions(connection):
    """Three sessions, each outside a transaction."""
    given = connection.get_connection_params()
    known = {n: given[n] for n in ("host", "port", "user", "password", "dbname") if given.get(n)}
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(psycopg.connect(**known, autocommit=True)) for _ in range(3)]


class TestProof:
    READ_ONLY = "SET default_transaction_read_only = on"

    @pytest.mark.parametrize("bound", ["PROVEN_SECONDS", "SESSION_SECONDS"])
    def test_what_was_just_proven_is_not_tried_again(self, sessions, monkeypatch, bound):
        """It is tried again when the server, or the session, was proven too long ago."""
        for name in ("PROVEN_SECONDS", "SESSION_SECONDS"):
            monkeypatch.setattr(availability, name, 60)
        server, (one, two, _) = Availability(but=(AllBusy,)), sessions
        server.prove(two)
        server.prove(one)
        two.execute(self.READ_ONLY)
        server.prove(two)
        monkeypatch.setattr(availability, bound, 0)
        with pytest.raises(errors.ReadOnlySqlTransaction):
            server.prove(two)

    def test_a_session_is_tried_before_its_first_use(self, sessions):
        server, (one, two, _) = Availability(but=(AllBusy,)), sessions
        server.prove(one)
        two.execute(self.READ_ONLY)
        with pytest.raises(errors.ReadOnlySqlTransaction):
            server.prove(two)

    def test_after_a_failure_each_session_is_tried(self, sessions):
        server, (one, two, three) = Availability(but=(AllBusy,)), sessions
        server.prove(one)
        for read_only in (one, two):
            read_only.execute(self.READ_ONLY)
        for session in (two, one):
            with pytest.raises(errors.ReadOnlySqlTransaction):
                server.prove(session)
        server.prove(three)

    def test_a_session_that_the_server_ended_is_noticed_at_once(self, sessions):
        server, (one, two, _) = Availability(but=(AllBusy,)), sessions
        server.prove(two)
        one.execute("SELECT pg_terminate_backend(%s, 5000)", [two.info.backend_pid])
        server.prove(one)
        with pytest.raises(psycopg.OperationalError):
            server.prove(two)


def caused(error, cause):
    error.__cause__ = cause
    return error


class TestSession:
    """Default settings of the server, the database or the role have no effect on our sessions."""

    @pytest.fixture
    def _odd_defaults(self, connection):
        name = connection.settings_dict["NAME"]
        odd = {
            "default_transaction_isolation": "'serializable'",
            "timezone": "'Asia/Tokyo'",
            "datestyle": "'SQL, DMY'",
            "intervalstyle": "'sql_standard'",
            "bytea_output": "'escape'",
            "jit": "'on'",
            "idle_in_transaction_session_timeout": "0",
            "lock_timeout": "0",
            "tcp_keepalives_idle": "7200",
            "tcp_keepalives_interval": "75",
            "tcp_keepalives_count": "9",
        }
        with connection.cursor() as cursor:
            for setting, value in odd.items():
                cursor.execute(f'ALTER DATABASE "{name}" SET {setting} = {value}')
        connection.close_pool()
        yield
        with connection.cursor() as cursor:
            cursor.execute(f'ALTER DATABASE "{name}" RESET ALL')
        connection.close_pool()

    @pytest.mark.usefixtures("_odd_defaults")
    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("transaction_isolation", "read committed"),
            ("timezone", "UTC"),
            ("datestyle", "ISO, MDY"),
            ("intervalstyle", "postgres"),
            ("bytea_output", "hex"),
            ("jit", "off"),
            ("idle_in_transaction_session_timeout", "90s"),
            ("lock_timeout", "15s"),
            ("tcp_keepalives_idle", "10"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "3"),
        ],
    )
    def test_session_settings_override_defaults_of_the_server(self, connection, setting, value):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SHOW {setting}")
            assert cursor.fetchone() == (value,)

    def test_the_server_ends_transactions_of_processes_that_are_frozen_or_gone(self, connection):
        def idle():
            with transaction.atomic():
                connection.cursor().execute("SET idle_in_transaction_session_timeout = '50ms'")
                time.sleep(0.5)
                connection.cursor().execute("SELECT 1")

        with pytest.raises(DatabaseError) as raised:
            idle()
        assert unavailable(raised.value) == "the database ended a transaction that was idle"

    def test_a_lock_that_is_not_released_in_time_is_no_bug(self, connection, sessions):
        sessions[0].execute("BEGIN; LOCK TABLE volumes_tenant IN ACCESS EXCLUSIVE MODE")
        connection.cursor().execute("SET lock_timeout = '50ms'")
        with pytest.raises(OperationalError) as raised:
            connection.cursor().execute("SELECT * FROM volumes_tenant")
        assert unavailable(raised.value) == "another call locked the same rows for too long"

    @pytest.mark.usefixtures("_odd_defaults")
    def test_times_are_read_whatever_the_default_date_style(self, connection):
        with connection.cursor() as cursor:
            cursor.execute("SELECT timestamptz '2026-12-31 23:59:59+00'")
            assert cursor.fetchone()[0].day == 31

    @pytest.mark.parametrize(
        "text",
        ["2026-11-29 05:39:49.618457+00", "2026-11-29 05:39:49.6+00", "2026-11-29 07:39:49+02"],
    )
    def test_times_are_read_exactly_and_in_utc(self, connection, text):
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s::timestamptz", [text])
            [found] = cursor.fetchone()
        assert found == dt.datetime.fromisoformat(text)
        assert found.tzinfo is dt.UTC

    def test_a_time_that_is_no_date_is_refused(self, connection):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 'infinity'::timestamptz")
            with pytest.raises(DataError, match="too large"):
                cursor.fetchone()


class TestAvailability:
    def test_other_threads_fail_at_once_while_one_tries_to_connect(self):
        server = Availability(but=(AllBusy,))
        with pytest.raises(psycopg.OperationalError, match="refused"), server.attempt():
            raise psycopg.OperationalError("refused")
        with pytest.raises(psycopg.OperationalError, match="refused"), server.attempt():
            raise AssertionError("an attempt right after one that failed")
        time.sleep(PAUSE_SECONDS)
        with server.attempt():
            seen = []

            def other():
                try:
                    with server.attempt():
                        seen.append("tried")
                except psycopg.OperationalError as error:
                    seen.append(str(error))

            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
            assert seen == ["refused"]
        with server.attempt():
            pass

    def test_a_full_connection_pool_does_not_count_as_an_outage(self):
        server = Availability(but=(AllBusy,))
        with pytest.raises(AllBusy), server.attempt():
            raise AllBusy("all are in use")
        with server.attempt():
            pass

    def test_the_error_of_the_failed_attempt_is_raised_again(self):
        server = Availability(but=(AllBusy,))
        for _ in range(2):
            with pytest.raises(errors.ReadOnlySqlTransaction), server.attempt():
                raise errors.ReadOnlySqlTransaction("read-only")


class TestSentences:
    @pytest.mark.parametrize(
        ("cause", "text"),
        [
            (errors.DiskFull(), "the disk of the database is full"),
            (errors.DeadlockDetected(), "deadlock"),
            (errors.SerializationFailure(), "changed the same rows"),
            (errors.CannotConnectNow(), "the database is starting"),
            (errors.TooManyConnections(), "accepts no more connections"),
            (psycopg.OperationalError("connection refused"), "the database cannot be reached"),
            (AllBusy(), "all database connections of this process are in use"),
        ],
    )
    def test_each_cause_of_an_outage_has_its_sentence(self, cause, text):
        sentence = unavailable(caused(OperationalError(), cause))
        assert sentence is not None
        assert text in sentence

    def test_a_read_only_database_is_no_bug(self):
        error = caused(InternalError(), errors.ReadOnlySqlTransaction())
        assert unavailable(error) == "the database is read-only"

    def test_a_bug_does_not_count_as_an_outage(self):
        assert unavailable(caused(DatabaseError(), errors.UndefinedTable())) is None
        assert unavailable(ValueError()) is None

    @pytest.mark.parametrize("kind", CONFLICTS)
    def test_conflicts_are_recognised(self, kind):
        assert is_conflict(caused(OperationalError(), kind()))
        assert not is_conflict(caused(OperationalError(), errors.DiskFull()))


class TestConnectionsWhileWaiting:
    def test_a_thread_that_waits_for_a_node_holds_no_connection(self, connection):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        held = []
        call_all({1: lambda: held.append(connection.connection)}, timeout_seconds=5)
        assert held == [None]

    def test_a_thread_that_waits_for_a_task_holds_no_connection(self, connection, monkeypatch):
        held = []
        monkeypatch.setattr(time, "sleep", lambda seconds: held.append(connection.connection))
        task = task_create(type=TaskType.FETCH_INVENTORY)
        assert task_wait(task_id=task.pk, seconds=2) is False
        assert set(held) == {None}

    def test_a_connection_is_kept_inside_a_transaction(self, connection):
        with transaction.atomic():
            release_connection()
            assert connection.connection is not None


def test_connections_that_broke_with_the_server_are_replaced(connection):
    """This is the case after a restart of the server: all connections in the pool are broken."""
    pool = connection.pool
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
    taken = [pool.getconn() for _ in range(3)]
    connection.close()
    for one in taken:
        pool.putconn(one)
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
