"""Ensures that only one run of a periodic job is active at a time, and records the last success of
each job.
"""

import datetime as dt

from django.db.models import F, Q

from provisioner.common import clock
from tasks.models import JobRun

OVERLAP = dt.timedelta(seconds=20)
"""A run that takes longer than this does not block the next one, because its process may be
dead.
"""


def run_begin(job: str, *, interval_seconds: float) -> bool:
    """Whether the periodic ``job`` must run now. If so, the begin of the run is recorded.

    A job does not run while another run is in progress (for OVERLAP at most), or if a run began
    less than half of ``interval_seconds`` ago. So if several messages of a job have waited, only
    one of them starts a run. A run that began in the future counts for nothing.
    """
    now = clock.now()
    ended = Q(ended_at__gte=F("began_at")) | Q(began_at__lte=now - OVERLAP)
    pause = dt.timedelta(seconds=interval_seconds / 2)
    due = (ended & Q(began_at__lte=now - pause)) | clock.is_impossible("began_at")
    if JobRun.objects.filter(due, pk=job).update(began_at=now, ended_at=None):
        return True
    _, is_first = JobRun.objects.get_or_create(pk=job, defaults={"began_at": now})
    return is_first


def run_end(job: str, *, succeeded: bool) -> None:
    """Record the end of a run."""
    now = clock.now()
    changes = {"ended_at": now} | ({"succeeded_at": now} if succeeded else {})
    JobRun.objects.filter(pk=job).update(**changes)
