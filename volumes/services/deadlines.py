"""Deadlines of passing states, and how one worker takes up what is overdue."""

import datetime as dt
from typing import TypeVar

from django.conf import settings
from django.db.models import QuerySet

from provisioner.common import clock
from volumes.models import Export, Publication, Replica, Snapshot, Volume

BATCH = 100
M = TypeVar("M", Volume, Replica, Snapshot, Publication, Export)


def unfinished_deadline() -> dt.datetime:
    """When the collector takes up a change that begins now."""
    return clock.now() + dt.timedelta(seconds=settings.ENVIRONMENT.unfinished_seconds)


def overdue_take(rows: QuerySet[M]) -> list[M]:
    """Those of ``rows`` whose deadline has passed and that no other worker takes: each gets a new
    deadline, by which it is done or will be taken up again.
    """
    taken = []
    for row in rows.filter(deadline_at__lte=clock.now()).order_by("deadline_at")[:BATCH]:
        same = rows.filter(pk=row.pk, deadline_at=row.deadline_at)
        if same.update(deadline_at=unfinished_deadline()):
            taken.append(row)
    return taken
