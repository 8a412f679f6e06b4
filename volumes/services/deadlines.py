"""Deadlines of transitional states, and claims of overdue rows by one worker."""

import datetime as dt
from typing import TypeVar

from django.conf import settings
from django.db.models import QuerySet

from provisioner.common import clock
from volumes.models import Export, Publication, Replica, Snapshot, Volume

BATCH = 100
M = TypeVar("M", Volume, Replica, Snapshot, Publication, Export)


def unfinished_deadline() -> dt.datetime:
    """Return the time after which the collector may finish or roll back a change that begins
    now.
    """
    return clock.now() + dt.timedelta(seconds=settings.ENVIRONMENT.unfinished_seconds)


def overdue_take(rows: QuerySet[M]) -> list[M]:
    """Claim up to ``BATCH`` of ``rows`` whose deadline has passed, and return them.

    A row is claimed by a later deadline, so only one worker gets it. If that worker does not finish
    the row by the new deadline, the row is overdue again. ``rows`` must contain only rows that can
    be finished now, because the oldest ones are claimed first.
    """
    taken = []
    for row in rows.filter(deadline_at__lte=clock.now()).order_by("deadline_at")[:BATCH]:
        # no conditions on other tables: PostgreSQL does not check those again after a wait
        same = rows.model.objects.filter(pk=row.pk, state=row.state, deadline_at=row.deadline_at)
        if same.update(deadline_at=unfinished_deadline()):
            taken.append(row)
    return taken
