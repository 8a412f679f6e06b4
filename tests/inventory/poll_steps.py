"""Shared steps of the tests of the poll of nodes."""

import datetime as dt

from django.utils import timezone

from inventory.jobs import poll_late_backends
from inventory.models import Backend

SILENCE_ALLOWED = dt.timedelta(seconds=180)


def silent_for(seconds, persistent_id=None):
    """Set the last heartbeat to this many seconds ago, and the last poll to a long time ago."""
    rows = (
        Backend.objects.all() if persistent_id is None else Backend.objects.filter(pk=persistent_id)
    )
    last_activity_at = timezone.now() - dt.timedelta(seconds=seconds)
    rows.update(
        available_until=last_activity_at + SILENCE_ALLOWED,
        refreshed_at=last_activity_at,
        polled_at=timezone.now() - dt.timedelta(hours=1),
    )


def polled(started):
    """Return the ids of the nodes that were read since ``started``."""
    return set(Backend.objects.filter(refreshed_at__gte=started).values_list("pk", flat=True))


def poll():
    started = timezone.now()
    poll_late_backends()
    return polled(started)
