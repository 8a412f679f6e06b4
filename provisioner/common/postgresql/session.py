"""The settings of each connection to the database, and of the pool of a process."""

from typing import Any

import psycopg
from psycopg import errors

from provisioner.common.postgresql.answers import BoundedConnection

CONNECT_SECONDS = 2
POOL_WAIT_SECONDS = 1.5
"""Longest wait for a connection of the pool. Then the server itself is tried, so that a call is
refused within 2 s while the server is away."""
CHECK_WAIT_SECONDS = 0.2
"""Longest wait of a check for a free connection. Then it opens its own."""
RECONNECT_SECONDS = 1.0
"""How long the pool tries in the background before the next caller makes it try again. With the
pool's default, 5 minutes with growing pauses, a server that is back would go unnoticed."""

SESSION = {
    "default_transaction_isolation": "read committed",
    "timezone": "UTC",  # otherwise Django would set it in each new connection
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
            "connection_class": BoundedConnection,
            "timeout": POOL_WAIT_SECONDS,
            "reconnect_timeout": RECONNECT_SECONDS,
        }
    return result


def connect(**params: Any) -> BoundedConnection:
    """:raises psycopg.errors.TooManyConnections: the server accepts no more connections. Only its
    text says so, because libpq gives no code. A text in another language is not recognised.
    """
    try:
        return BoundedConnection.connect(**params)
    except psycopg.OperationalError as error:
        text = str(error)
        if "too many c" in text or "remaining connection slots" in text:
            raise errors.TooManyConnections(text) from error
        raise
