"""Errors of the database as texts for clients, and the return of connections to the pool."""

import sqlite3

import psycopg
from django.db import Error, InterfaceError, OperationalError, connection
from psycopg import errors

from provisioner.common.postgresql.base import AllBusy

SENTENCES: dict[type[psycopg.Error], str] = {
    AllBusy: "all database connections of this process are in use",
    errors.ReadOnlySqlTransaction: "the database is read-only",
    errors.DiskFull: "the disk of the database is full",
    errors.TooManyConnections: "the database accepts no more connections",
    errors.OutOfMemory: "the database is out of memory",
    errors.SerializationFailure: "another call changed the same rows at the same moment",
    errors.DeadlockDetected: "this call and another call waited for each other (deadlock)",
    errors.IdleInTransactionSessionTimeout: "the database ended a transaction that was idle",
    errors.LockNotAvailable: "another call locked the same rows for too long",
    errors.QueryCanceled: "the database cancelled a statement that took too long",
    errors.AdminShutdown: "the database is being stopped",
    errors.CrashShutdown: "the database has crashed and restarts",
    errors.CannotConnectNow: "the database is starting",
}
SQLITE = {
    "SQLITE_FULL": SENTENCES[errors.DiskFull],
    "SQLITE_READONLY": SENTENCES[errors.ReadOnlySqlTransaction],
    "SQLITE_BUSY": SENTENCES[errors.LockNotAvailable],
    "SQLITE_LOCKED": SENTENCES[errors.LockNotAvailable],
}
UNREACHABLE = "the database cannot be reached"
CONFLICTS = (errors.SerializationFailure, errors.DeadlockDetected)


def unavailable(error: BaseException | None) -> str | None:
    """Return the reason why the database is unavailable now, as a text for clients. None: the error
    has another cause.

    A call that failed for this reason changed nothing, or its work will be finished or rolled back
    later. The client may retry it.
    """
    if not isinstance(error, Error):
        return None
    cause = error.__cause__
    for kind, sentence in SENTENCES.items():
        if isinstance(cause, kind):
            return sentence
    if not isinstance(error, OperationalError | InterfaceError):
        return None
    if isinstance(cause, sqlite3.Error):
        name = "_".join(cause.sqlite_errorname.split("_")[:2])
        return SQLITE.get(name, UNREACHABLE)
    return UNREACHABLE


def is_locked(error: BaseException | None) -> bool:
    """Whether another transaction held a lock for too long."""
    return isinstance(error, Error) and isinstance(error.__cause__, errors.LockNotAvailable)


def is_conflict(error: BaseException | None) -> bool:
    """Whether the error is a conflict with another transaction, so that a retry can succeed."""
    return isinstance(error, Error) and isinstance(error.__cause__, CONFLICTS)


def release_connection() -> None:
    """Return the connection of this thread to the pool. Call this before the thread waits for
    something other than the database.

    The next statement takes a connection again. Does nothing inside a transaction, or if each
    thread keeps its own connection.
    """
    holds_one = connection.connection is not None and not connection.in_atomic_block
    if holds_one and getattr(connection, "pool", None):
        connection.close()
