"""The database backend: ``ENGINE = "provisioner.common.postgresql"``."""

from collections.abc import Callable
from functools import cache
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg.adapt import AdaptersMap, Buffer, Loader
from psycopg.pq import Format
from psycopg.types.datetime import TimestamptzBinaryLoader, TimestamptzLoader
from psycopg_pool import PoolTimeout

from provisioner.common.postgresql.availability import Availability, require_writable

Django: Any = base  # its type stubs lack what is used here

CONNECT_SECONDS = 2
POOL_WAIT_SECONDS = 1.5
"""Longest wait for a connection of the pool. Then the server itself is tried, so that a call is
refused within 2 s while the server is away."""
BUSY_SECONDS = 15.0
"""Longest wait for a free connection while the server answers."""
PLANNING_CURSOR = "planning_cursor"
RECONNECT_SECONDS = 1.0
"""How long the pool tries in the background before the next caller makes it try again. With the
pool's default, 5 minutes with growing pauses, a server that is back would go unnoticed."""

SESSION = {
    "default_transaction_isolation": "read committed",
    "datestyle": "ISO,MDY",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "jit": "off",  # compiling a statement takes longer than executing it: docs/decisions/0037
    "plan_cache_mode": "force_generic_plan",  # one plan for all values: docs/decisions/0041
    # a process that vanished or is frozen keeps its locks until the server notices
    "idle_in_transaction_session_timeout": "90s",  # a client may pause a long list for 60 s
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "lock_timeout": "15s",
}
"""Settings of each session, whatever the server, the database or the role sets."""

CONNECTION = {
    "connect_timeout": CONNECT_SECONDS,
    "prepare_threshold": 5,  # for planning_cursor: Django's own statements are never prepared
    # notice a server that vanished silently
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # ms
}


def options(given: dict[str, Any], *, pool_size: int) -> dict[str, Any]:
    """Return the backend's ``OPTIONS``: those of DATABASE_URL, and those that every connection
    needs.

    ``pool_size``: the number of connections that a process keeps. 0: each thread keeps its own
    connection.
    """
    settings = "".join(
        f" -c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in SESSION.items()
    )
    result = {"application_name": "provisioner"} | CONNECTION | given
    result["options"] = f"{given.get('options', '')}{settings}".strip()
    if pool_size:
        result["pool"] = {
            "min_size": 1,
            "max_size": pool_size,
            "timeout": POOL_WAIT_SECONDS,
            "reconnect_timeout": RECONNECT_SECONDS,
        }
    return result


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
    return Availability(but=AllBusy)


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's backend with another way to connect. While the server is down, one thread at a time
    tries to connect, and all other threads fail at once.

    A connection is closed if it is broken, or if its server has become read-only, as after a
    failover.
    """

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
        place = self.settings_dict
        server = availability(str(place["HOST"]), str(place["PORT"]))
        with server.attempt():
            if not self.pool:
                connection = super().get_new_connection(conn_params)
                require_writable(connection)
                return connection
            try:
                pooled = super().get_new_connection
                return self._working(server, lambda: pooled({}))
            except PoolTimeout:
                with psycopg.connect(**conn_params) as connection:
                    require_writable(connection)
            try:
                return self._working(server, lambda: self.pool.getconn(timeout=BUSY_SECONDS))
            except PoolTimeout as error:
                raise AllBusy("all database connections of this process are in use") from error

    def _working(self, server: Availability, take: Callable[[], Any]) -> Any:
        """Return a working connection of the pool. Any of them may have broken when the server
        stopped.
        """
        left = int(self.settings_dict["OPTIONS"]["pool"]["max_size"])
        while True:
            connection = take()
            try:
                server.prove(connection)
            except psycopg.Error:
                connection.close()
                self.pool.putconn(connection)
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
