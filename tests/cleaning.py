"""Cleans the database after each test that commits. This takes a tenth of the time of Django's
``flush``.
"""

import os
import threading
import time
from functools import cache
from typing import Any

import redis
from django.core.servers.basehttp import ServerHandler
from django.db import connection, transaction
from django.db.backends.postgresql.creation import DatabaseCreation
from django.test import TransactionTestCase

KEPT = {"django_content_type", "auth_permission", "inventory_pool"}
"""What ``flush`` takes away and then makes again, the same, from the models; and the pool, without
which no generation is handed out.
"""
IDLE_SECONDS = 5.0

_running: set[int] = set()
"""Threads of the live server that have not quite done with a request, though it is answered."""


def install() -> None:
    """Clean in this way after all tests of this process."""
    answer = ServerHandler.run

    def run(handler: ServerHandler, application: Any) -> None:
        _running.add(threading.get_ident())
        try:
            answer(handler, application)
        finally:
            _running.discard(threading.get_ident())

    ServerHandler.run = run  # type: ignore[assignment, method-assign]
    DatabaseCreation._destroy_test_db = _drop  # type: ignore[attr-defined]
    TransactionTestCase._fixture_teardown = _delete_rows  # type: ignore[attr-defined]


def _drop(creation: Any, name: str, verbosity: int) -> None:
    """At the end, also if a thread of a live server still holds a connection."""
    with creation._nodb_cursor() as cursor:
        cursor.execute(f"DROP DATABASE {creation.connection.ops.quote_name(name)} WITH (FORCE)")


def _delete_rows(_: TransactionTestCase) -> None:
    """Delete all rows. A few rows are deleted faster than TRUNCATE creates the files of all tables
    again.

    Foreign keys are checked at the commit, so the order of the tables does not matter.
    """
    give_up = time.monotonic() + IDLE_SECONDS
    while _running and time.monotonic() < give_up:
        time.sleep(0.001)
    _forget_logins()
    _forget_health()
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(";".join(_statements()))
        else:
            for statement in _statements():
                cursor.execute(statement)


def _forget_logins() -> None:
    """Delete the counts of failed logins, so that those of one test do not lock out the next
    one.
    """
    from provisioner.access.login_attempts import PREFIX

    client = _redis(os.environ["REDIS_URL"])
    if keys := list(client.scan_iter(f"{PREFIX}*", count=1000)):
        client.delete(*keys)


def _forget_health() -> None:
    """Clear the cached health of the pool, which ``GET /info`` keeps for some seconds."""
    from volumes.health_selectors import pool_counts_cache

    pool_counts_cache.forget()


@cache
def _redis(url: str) -> redis.Redis:
    return redis.Redis.from_url(url)


@cache
def _statements() -> tuple[str, ...]:
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    quoted = [connection.ops.quote_name(name) for name in names if name not in KEPT]
    return tuple(f"DELETE FROM {name}" for name in quoted)  # noqa: S608 - names of our tables
