"""Transactions whose reads all show the database at one moment."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from django.db import connection, transaction
from psycopg import IsolationLevel

T = TypeVar("T")


class NeedsOneMoment(Exception):
    """An answer needs a second statement, and no transaction shows one moment."""


def require_one_moment() -> None:
    """Call this before the second statement of an answer that is usually one statement.

    :raises NeedsOneMoment: no transaction is open.
    """
    if not connection.in_atomic_block:
        raise NeedsOneMoment


def read_at_one_moment(read: Callable[[], T], *, is_one_statement: bool = True) -> T:
    """Return what ``read`` reads: without a transaction if it is one statement. If it is not, or
    calls :func:`require_one_moment`, it is called in a transaction.
    """
    if is_one_statement:
        with suppress(NeedsOneMoment):
            return read()
    with one_moment():
        return read()


@contextmanager
def one_moment() -> Iterator[None]:
    """A transaction in which all reads show the database at the time of the first read.

    It must not write, call a node, or wait for anything, because the database must keep old rows
    for it. Use it as a decorator or context manager for an answer that takes more than one
    statement. It costs two round trips, BEGIN and COMMIT, and never fails because of a conflict.
    """
    connection.ensure_connection()
    with _next_begin_is_a_snapshot(), transaction.atomic(durable=True):
        yield


@contextmanager
def _next_begin_is_a_snapshot() -> Iterator[None]:
    """Make the next BEGIN start a snapshot. A SET after it would cost one more round trip."""
    if connection.vendor != "postgresql":  # in WAL mode, a deferred transaction is a snapshot
        with _changed(connection, transaction_mode="DEFERRED"):
            yield
        return
    driver = connection.connection
    with _changed(driver, isolation_level=IsolationLevel.REPEATABLE_READ, read_only=True):
        yield


@contextmanager
def _changed(of: Any, **values: Any) -> Iterator[None]:
    """Set attributes for the duration of the block."""
    before = {name: getattr(of, name) for name in values}
    for name, value in values.items():
        setattr(of, name, value)
    try:
        yield
    finally:
        if not getattr(of, "closed", False):  # a broken connection is not used again
            for name, value in before.items():
                setattr(of, name, value)
