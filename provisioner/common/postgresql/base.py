"""The database backend: ``ENGINE = "provisioner.common.postgresql"``."""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg import errors
from psycopg.adapt import AdaptersMap, Buffer, Loader
from psycopg.pq import Format
from psycopg.types.datetime import TimestamptzBinaryLoader, TimestamptzLoader
from psycopg_pool import PoolTimeout

from provisioner.common.postgresql.answers import NoAnswer
from provisioner.common.postgresql.availability import Availability, require_writable
from provisioner.common.postgresql.session import CHECK_WAIT_SECONDS, POOL_WAIT_SECONDS, connect

Django: Any = base  # its type stubs lack what is used here

BUSY_SECONDS = 15.0
"""Longest wait for a free connection while the server answers."""
PLANNING_CURSOR = "planning_cursor"


class AllBusy(psycopg.OperationalError):
    """All connections of this process are in use, but the server answers."""


class _JsonText(Loader):
    """Leaves JSON to Django's JSONField, as Django's adapters do for results in text form."""

    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        return bytes(data[1:]).decode()  # the first byte is the version of the form


@cache
def _with_loaders(adapters: AdaptersMap) -> AdaptersMap:
    """Django's adapters, but psycopg's C code loads times, and JSON may be binary. Django asks for
    them with each connection that it takes, also with those of the pool.
    """
    changed = AdaptersMap(adapters)
    changed.register_loader("timestamptz", TimestamptzLoader)
    changed.register_loader("timestamptz", TimestamptzBinaryLoader)
    changed.register_loader("jsonb", _JsonText)
    return changed


@cache
def availability(host: str, port: str) -> Availability:
    """The availability of a server, as seen by this process. Empty strings: the default server."""
    return Availability(but=(AllBusy, errors.TooManyConnections))


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's backend with another way to connect. While the server is down, one thread at a time
    tries to connect, and all other threads fail at once.

    A connection is closed if it is broken, or if its server has become read-only, as after a
    failover.
    """

    Database: Any = SimpleNamespace(**(vars(psycopg) | {"connect": connect}))

    def get_connection_params(self) -> dict[str, Any]:
        params: dict[str, Any] = super().get_connection_params()
        return params | {"context": _with_loaders(params["context"])}

    def create_cursor(self, name: str | None = None) -> Any:
        """As Django does, but times are loaded by psycopg's C code, in the zone of the session,
        which is UTC. Django's own loader takes twenty times as long, which was a third of all the
        work for a page of volumes.
        """
        if name is None:
            return self.connection.cursor()
        stays = self.connection.autocommit
        return Django.ServerSideCursor(self.connection, name=name, scrollable=False, withhold=stays)

    def planning_cursor(self) -> Any:
        """A cursor for statements of which there are few, each used often. The values go beside the
        statement. From its sixth use on, the server has the statement parsed and planned, which is
        half of its work for a short one.

        Results are binary, which is faster for times and numbers.

        A connection has one such cursor: read all its rows before the next statement, and do not
        close it. Creating one took a tenth of the work for a short statement.
        """
        if self.connection is None:
            self.ensure_connection()
        cursor = getattr(self.connection, PLANNING_CURSOR, None)
        if cursor is None:
            with self.wrap_database_errors:
                cursor = Django.ServerBindingCursor(self.connection)
            cursor.format = Format.BINARY
            setattr(self.connection, PLANNING_CURSOR, cursor)
        return Django.DatabaseWrapper._prepare_cursor(self, cursor)

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """:raises psycopg.OperationalError: no server that accepts writes can be reached.
        :raises AllBusy: all connections of the pool are in use.
        """
        with self._server.attempt():
            if not self.pool:
                connection = super().get_new_connection(conn_params)
                require_writable(connection)
                return connection
            pooled = super().get_new_connection
            with suppress(PoolTimeout):
                return self._working(lambda: pooled({}))
            refusal = self._require_answer(conn_params)
        # the server answers, so other threads may try now, and the pool may have a connection soon
        until = time.monotonic() + BUSY_SECONDS
        while time.monotonic() < until:
            with suppress(PoolTimeout):  # each call makes the pool try to grow again
                return self._working(partial(self.pool.getconn, timeout=POOL_WAIT_SECONDS))
        raise refusal

    def check(self) -> None:
        """Check that the server accepts writes. If all connections of the pool are in use, this
        opens another one, because they may wait for locks.

        :raises psycopg.Error: no server that accepts writes can be reached, or it accepts no more
            connections and none of this process has worked recently.
        """
        with self._server.attempt():
            if self.pool:
                self.pool.open()
                with suppress(PoolTimeout):
                    take = partial(self.pool.getconn, timeout=CHECK_WAIT_SECONDS)
                    self.pool.putconn(self._working(take))
                    return
            try:
                self._server.ask(lambda: connect(**self.get_connection_params()))
            except errors.TooManyConnections:
                if not self._server.worked_within(BUSY_SECONDS):
                    raise

    def _require_answer(self, conn_params: dict[str, Any]) -> psycopg.Error:
        """Check with a new session that the server answers. Returns the error for a caller who gets
        no connection nevertheless.

        :raises psycopg.OperationalError: no server that accepts writes can be reached.
        """
        try:
            self._server.ask(lambda: connect(**conn_params))
        except errors.TooManyConnections as error:
            return error
        return AllBusy("all database connections of this process are in use")

    @property
    def _server(self) -> Availability:
        place = self.settings_dict
        return availability(str(place["HOST"]), str(place["PORT"]))

    def _working(self, take: Callable[[], Any]) -> Any:
        """Return a working connection of the pool. Any of them may have broken when the server
        stopped. If one is deaf, the others are, too: then they are all replaced, and only one more
        is tried.
        """
        left = int(self.settings_dict["OPTIONS"]["pool"]["max_size"])
        while True:
            connection = take()
            try:
                self._server.prove(connection)
            except psycopg.Error as error:
                connection.close()
                self.pool.putconn(connection)
                if isinstance(error, NoAnswer):
                    self.pool.drain()
                    left = min(left, 1)
                if not left:
                    raise
                left -= 1
            else:
                return connection

    def is_usable(self) -> bool:
        if self.connection is None:
            return False
        try:
            require_writable(self.connection)
        except psycopg.Error:
            return False
        return True
