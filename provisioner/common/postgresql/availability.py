"""Remembers whether this process can reach the database."""

import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from provisioner.common.clock import clock_compared
from provisioner.common.postgresql.answers import checked

STATE = """
    SELECT current_setting('transaction_read_only'), extract(epoch FROM clock_timestamp())
"""
PAUSE_SECONDS = 0.5
"""After a failed attempt to connect, further attempts fail at once for this time."""
PROVEN_SECONDS = 0.2
"""A server that was found to accept writes this recently, in any session, is not asked again."""
SESSION_SECONDS = 5.0
"""A session that was found to work this recently is not tried again."""
PROVEN_AT = "proven_at"
LONG_AGO = float("-inf")


class Availability:
    """Prevents the threads of a process from waiting one after the other for a server that is down.

    After a failed attempt, further attempts fail at once for PAUSE_SECONDS. Then one thread tries
    to connect, and the others fail at once until it has a result. ``but``: errors that do not show
    that the server is down.
    """

    def __init__(self, *, but: tuple[type[psycopg.Error], ...]) -> None:
        self._but = but
        self._lock = threading.Lock()
        self._failed_at = 0.0
        self._failure: psycopg.Error | None = None
        self._is_tried = False
        self._proven_at = LONG_AGO
        self._asking = threading.Lock()
        self._asked_at = LONG_AGO
        self._answer: psycopg.Error | None = None

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """A context for an attempt to connect.

        :raises psycopg.Error: a recent attempt failed with this error, so this one was not made.
        """
        self._begin()
        failure = None
        try:
            yield
        except psycopg.Error as error:
            failure = None if isinstance(error, self._but) else error
            raise
        finally:
            self._end(failure)

    def prove(self, connection: "psycopg.Connection[object]") -> None:
        """Check that the session works and accepts writes. This takes a round trip only if the
        server was not proven within PROVEN_SECONDS, or the session within SESSION_SECONDS, or if
        the server has sent something, as it does when it ends the session.

        :raises psycopg.Error: the session is broken or read-only.
        """
        now = time.monotonic()
        is_proven = now - self._proven_at < PROVEN_SECONDS
        if is_proven and now - getattr(connection, PROVEN_AT, LONG_AGO) < SESSION_SECONDS:
            arrived = select.poll()
            arrived.register(connection.fileno(), select.POLLIN)
            if not arrived.poll(0):
                return
        try:
            require_writable(connection)
        except psycopg.Error:
            self._proven_at = LONG_AGO
            raise
        self._proven_at = time.monotonic()
        setattr(connection, PROVEN_AT, self._proven_at)

    def ask(self, connect: "Callable[[], psycopg.Connection[object]]") -> None:
        """Check with a new session that the server accepts writes, unless it was just proven. One
        thread does this for all that call it meanwhile.

        :raises psycopg.Error: what ``connect`` raises, or the session is read-only.
        """
        called_at = time.monotonic()
        with self._asking:
            if self._asked_at < called_at:
                self._answer = None if self.worked_within(PROVEN_SECONDS) else self._asked(connect)
                self._asked_at = time.monotonic()
            if self._answer is not None:
                raise type(self._answer)(str(self._answer))

    def _asked(self, connect: "Callable[[], psycopg.Connection[object]]") -> psycopg.Error | None:
        try:
            with connect() as connection:
                require_writable(connection)
        except psycopg.Error as error:
            if not isinstance(error, self._but):
                self._proven_at = LONG_AGO
            return error
        self._proven_at = time.monotonic()
        return None

    def worked_within(self, seconds: float) -> bool:
        """Whether any session was found to work recently."""
        return time.monotonic() - self._proven_at < seconds

    def _begin(self) -> None:
        with self._lock:
            if self._failure is None:
                return
            if self._is_tried or time.monotonic() - self._failed_at < PAUSE_SECONDS:
                raise type(self._failure)(str(self._failure))
            self._is_tried = True

    def _end(self, failure: psycopg.Error | None) -> None:
        with self._lock:
            self._failure, self._failed_at = failure, time.monotonic()
            self._is_tried = False


def require_writable(connection: "psycopg.Connection[object]") -> None:
    """Check in one round trip that the session works and accepts writes, and read the time of the
    database. This takes PROOF_SECONDS at most.

    :raises psycopg.Error: the session is broken or read-only.
    """
    began = time.monotonic()
    with checked(connection):
        row = connection.execute(STATE).fetchone()
        ended = time.monotonic()
        if not connection.autocommit:
            connection.rollback()
    read_only, seconds = row if isinstance(row, tuple) else ("", 0.0)
    clock_compared(float(seconds), began, ended)
    if read_only != "off":
        raise psycopg.errors.ReadOnlySqlTransaction("the database is read-only")
