"""Generations: the numbers in each write to a node. They never repeat, even if the database is
restored from an older copy.

In PostgreSQL, the function ``provisioner_generation()`` is the default of the keys that serve as
generations. It returns numbers above the one that ``generations_raise`` stored, which runs at each
start of the system. If it raises the sequence by more than 10 seconds, it remembers the gap of
numbers that were not issued, at least for 20 minutes.
"""

import time
from typing import NamedTuple

from django.db import connection, transaction

TABLES = ("volumes_replica", "volumes_snapshot", "volumes_export")
"""Tables whose keys are generations."""
STALE_SECONDS = 1.0


class Issued(NamedTuple):
    """What this database issued: numbers up to ``last``, but none between ``after`` and
    ``until``.
    """

    last: int
    after: int = 0
    until: int = 0

    def lacks(self, generation: int) -> bool:
        """Whether this database certainly never issued the number."""
        return generation > self.last or self.after < generation < self.until


_lately: list[tuple[Issued, float]] = [(Issued(0), 0.0)]
"""The last result of ``generations_issued`` in this process, and until when it is used."""


def generation_cached() -> Issued:
    """Return the result of ``generations_issued``, at most STALE_SECONDS old. ``last`` may have
    increased since.
    """
    issued, until = _lately[0]
    asked_at = time.monotonic()
    if asked_at >= until:
        issued = generations_issued()
        _lately[0] = (issued, asked_at + STALE_SECONDS)
    return issued


def generations_issued() -> Issued:
    """Return which generations this database issued. Only PostgreSQL knows a gap."""
    if connection.vendor != "postgresql":
        return Issued(generation_last())
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT issued.last_value, gap.last_value"
            " FROM provisioner_generations issued, provisioner_gap_until gap"
        )
        last, until = cursor.fetchone()
        # read last, because it is written first: so the pair is never that of two gaps
        cursor.execute("SELECT last_value FROM provisioner_gap_after")
        [after] = cursor.fetchone()
    return Issued(last, after, until)


def generation_gap_clear() -> None:
    """Forget the gap, because nodes may have numbers in it for a reason that is known."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT setval('provisioner_gap_until', 1)")


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
