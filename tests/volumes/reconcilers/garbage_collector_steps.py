"""Shared steps of the tests of the garbage collector."""

import datetime as dt

from django.utils import timezone

from volumes.models import Export, Publication, Replica, Snapshot, Volume
from volumes.reconcilers.garbage_collector import collect


def collect_overdue() -> None:
    """Run the collector as if all deadlines had passed."""
    past = timezone.now() - dt.timedelta(seconds=1)
    for model in (Volume, Replica, Snapshot, Publication, Export):
        model.objects.filter(deadline_at__isnull=False).update(deadline_at=past)
    collect()
