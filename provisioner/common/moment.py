"""Reads that belong together show one moment of the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from psycopg import IsolationLevel


@contextmanager
def one_moment() -> Iterator[None]:
    """A transaction in which all reads show the database as it was at the first of them. It may
    not write, call a node, or wait for anything: the database keeps old rows for it meanwhile.

    Use it, as a decorator or with ``with``, for an answer that takes more than one statement. It
    costs two round trips, BEGIN and COMMIT, and fails with no conflict.
    """
    connection.ensure_connection()
    with _next_begin_is_a_snapshot(), transaction.atomic(durable=True):
        yield


@contextmanager
def _next_begin_is_a_snapshot() -> Iterator[None]:
    """BEGIN itself says so: a SET after it would be one more round trip."""
    if connection.vendor != "postgresql":  # a deferred transaction of SQLite is one, in WAL mode
        with _changed(connection, transaction_mode="DEFERRED"):
            yield
        return
    driver = connection.connection
    with _changed(driver, isolation_level=IsolationLevel.REPEATABLE_READ, read_only=True):
        yield


@contextmanager
def _changed(of: Any, **values: Any) -> Iterator[None]:
    """Attributes have these values for the time being."""
    before = {name: getattr(of, name) for name in values}
    for name, value in values.items():
        setattr(of, name, value)
    try:
        yield
    finally:
        if not getattr(of, "closed", False):  # what broke is not used again
            for name, value in before.items():
                setattr(of, name, value)
