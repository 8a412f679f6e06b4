"""Limits the wait for an answer of the database server.

A server that vanished is noticed by TCP. But if its machine is frozen, or a device between keeps
the TCP session, what is sent is acknowledged and no answer ever comes. After a failover, new
connections would work, and threads with old ones would wait for ever.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen

ANSWER_SECONDS = 75.0
"""Longest wait for an answer. It is longer than several waits for locks, of 15 s each, and than any
statement of a request, a task or a job."""
PROOF_SECONDS = 2.0
"""Longest wait for the answer to a check of a session."""
INTERVAL_SECONDS = 0.1  # psycopg's default

_unlimited = threading.Event()
_seconds: ContextVar[float | None] = ContextVar("longest wait for an answer", default=None)


class NoAnswer(psycopg.OperationalError):
    """The server did not answer in time. The session is closed."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed if the server does not answer in time."""

    is_checked = False

    def wait(
        self, gen: PQGen[RV], interval: float = INTERVAL_SECONDS, timeout: float | None = None
    ) -> RV:
        """:raises NoAnswer: the server did not answer in time."""
        if timeout is not None or (_unlimited.is_set() and not self.is_checked):
            return super().wait(gen, interval, timeout)
        seconds = PROOF_SECONDS if self.is_checked else _seconds.get() or ANSWER_SECONDS
        try:
            return super().wait(gen, interval, seconds)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()
            raise NoAnswer(f"the database did not answer within {seconds:.0f} s") from None


@contextmanager
def checked(connection: "psycopg.Connection[object]") -> Iterator[None]:
    """In this context, the server must answer within PROOF_SECONDS."""
    if not isinstance(connection, BoundedConnection):
        yield
        return
    connection.is_checked = True
    try:
        yield
    finally:
        connection.is_checked = False


@contextmanager
def answered_within(seconds: float) -> Iterator[None]:
    """In this context, the server must answer each statement of this thread within this time."""
    token = _seconds.set(seconds)
    try:
        yield
    finally:
        _seconds.reset(token)


@contextmanager
def unlimited() -> Iterator[None]:
    """In this context, statements of this process may take any time, as those of migrations do."""
    _unlimited.set()
    try:
        yield
    finally:
        _unlimited.clear()
