"""Runs of periodic jobs: one at a time, and when the last one succeeded."""

import datetime as dt

from django.db.models import F, Q

from provisioner.common import clock
from tasks.models import JobRun

OVERLAP = dt.timedelta(seconds=20)
"""A run that takes longer no longer keeps the next one from beginning: its process may be dead."""


def run_begin(job: str, *, interval_seconds: float) -> bool:
    """Whether the periodic ``job`` is to be run now. Not while a run is under way, nor where one
    began within half of ``interval_seconds``: messages that waited for a worker are done by one.
    """
    now = clock.now()
    ended = Q(ended_at__gte=F("began_at")) | Q(began_at__lte=now - OVERLAP)
    pause = dt.timedelta(seconds=interval_seconds / 2)
    if JobRun.objects.filter(ended, pk=job, began_at__lte=now - pause).update(began_at=now):
        return True
    _, is_first = JobRun.objects.get_or_create(pk=job, defaults={"began_at": now})
    return is_first


def run_end(job: str, *, succeeded: bool) -> None:
    now = clock.now()
    changes = {"ended_at": now} | ({"succeeded_at": now} if succeeded else {})
    JobRun.objects.filter(pk=job).update(**changes)
