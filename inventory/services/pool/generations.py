"""Generations: the numbers in each write to a node. They never repeat, even if the database is
restored from an older copy.

In PostgreSQL, the function ``provisioner_generation()`` is the default of the keys that serve as
generations. It returns numbers above the one that ``generations_raise`` stored, which runs at each
start of the system.
"""

import time

from django.db import connection, transaction

TABLES = ("volumes_replica", "volumes_snapshot", "volumes_export")
"""Tables whose keys are generations."""
STALE_SECONDS = 1.0
_lately: list[tuple[int, float]] = [(0, 0.0)]
"""The last result of ``generation_last`` in this process, and until when it is used."""


def generation_cached() -> int:
    """Return the result of ``generation_last``, at most STALE_SECONDS old. It may have increased
    since.
    """
    last, until = _lately[0]
    asked_at = time.monotonic()
    if asked_at >= until:
        last = generation_last()
        _lately[0] = (last, asked_at + STALE_SECONDS)
    return last


def generation_last() -> int:
    """Return the greatest generation that this database handed out."""
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
    """Make all further generations greater than ``above``, than the clock (in microseconds since
    1970), and than all earlier generations.
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
    """Return a number that is not less than any earlier generation, and less than every later
    one.
    """
    last = generation_last()
    if connection.vendor != "postgresql":  # there each table has its own counter
        generations_raise(above=last)
    return last


def generation_next() -> int:
    """Return a new generation, even while writes are barred and the database hands out none by
    default. Runs in a transaction.
    """
    if connection.vendor != "postgresql":
        generations_raise(above=generation_last() + 1)
        return generation_last()
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('provisioner_generations')")
        [number] = cursor.fetchone()
    return int(number)
