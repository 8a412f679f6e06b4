"""How old the restored state of a database is."""

import datetime as dt
from collections.abc import Iterable

from django.db.models import Max

from inventory.services.pool.generations import generations_issued
from volumes.models import Export, Replica, Snapshot

SLACK = dt.timedelta(minutes=10) // dt.timedelta(microseconds=1)
"""Microseconds. No transaction takes longer. A backup lacks the rows of transactions that began
before it and committed after it.
"""


def after_restored(since: dt.datetime | None = None, *, seen: Iterable[int] = ()) -> int:
    """Return the generation of the restored state. Objects with greater generations may have been
    created later.

    The generation is derived from ``since``, the time of that state. Without it, it is that of the
    youngest row, or the start of the gap that one of the generations that nodes have ``seen`` is
    in: then rows were written after the gap.
    """
    if since:
        return max(int(since.timestamp() * 1_000_000) - SLACK, 0)
    issued = generations_issued()
    is_in_gap = any(issued.after < generation < issued.until for generation in seen)
    after = min(_greatest_key(), issued.after) if is_in_gap else _greatest_key()
    return max(after - SLACK, 0)


def _greatest_key() -> int:
    """Return the key of the youngest row. The sequence in a dump may be greater."""
    keys = [
        model._default_manager.aggregate(key=Max("pk"))["key"] or 0
        for model in (Replica, Snapshot, Export)
    ]
    return max(keys)
