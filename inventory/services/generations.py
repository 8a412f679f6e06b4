"""Numbers that go with each write to a node, and never come again, whatever age the database has.

PostgreSQL hands them out by ``provisioner_generation()``, the default of the keys that they are:
from one sequence, which follows the clock in microseconds. SQLite numbers the rows of each table by
itself, above what ``generations_raise`` wrote, which each start of the system calls.
"""

import time

from django.db import connection, transaction

TABLES = ("volumes_replica", "volumes_snapshot", "volumes_export")
"""Whose keys are generations."""
STALE_SECONDS = 1.0
_lately: list[tuple[int, float]] = [(0, 0.0)]
"""What ``generation_last`` said to this process, and until when that counts."""


def generation_lately() -> int:
    """As ``generation_last``, of STALE_SECONDS ago at most. A greater one may be there by now."""
    last, until = _lately[0]
    asked_at = time.monotonic()
    if asked_at >= until:
        last = generation_last()
        _lately[0] = (last, asked_at + STALE_SECONDS)
    return last


def generation_last() -> int:
    """No greater one was handed out by this database."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT last_value FROM provisioner_generations")
        else:
            marks = ", ".join(["%s"] * len(TABLES))
            cursor.execute(
                f"SELECT max(seq) FROM sqlite_sequence WHERE name IN ({marks})",  # noqa: S608
                TABLES,
            )
        [last] = cursor.fetchone()
    return int(last or 0)


def generations_raise(*, above: int = 0) -> None:
    """All that are handed out from now on are greater than ``above`` and than the clock, and than
    all before in any case.
    """
    least = max(above, time.time_ns() // 1000)
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT provisioner_generations_raise(%s)", [least])
            return
        for table in TABLES:
            cursor.execute(
                "INSERT INTO sqlite_sequence (name, seq) SELECT %s, 0"
                " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = %s)",
                [table, table],
            )
            cursor.execute(
                "UPDATE sqlite_sequence SET seq = max(seq, %s) WHERE name = %s", [least, table]
            )


def generation_mark() -> int:
    """All that were handed out are not greater, all that come are."""
    last = generation_last()
    if connection.vendor != "postgresql":  # where each table counts for itself
        generations_raise(above=last)
    return last


def generation_next() -> int:
    """A new one, also while the database hands out none by itself; within a transaction."""
    if connection.vendor != "postgresql":
        generations_raise(above=generation_last() + 1)
        return generation_last()
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('provisioner_generations')")
        [number] = cursor.fetchone()
    return int(number)
