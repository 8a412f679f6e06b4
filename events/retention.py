"""Deletes events that are older than EVENT_RETENTION_DAYS, and the oldest events if there are more
than EVENT_MOST.
"""

import datetime as dt

from django.conf import settings

from events.models import Event
from provisioner.common import clock

BATCH = 5_000
BATCHES = 20
"""A run deletes at most BATCHES times BATCH events, each batch in a separate statement."""


def events_prune() -> int:
    """Delete events that are too old or too many, at most BATCHES times BATCH. Returns the number
    of deleted events.
    """
    last = _last_to_delete()
    deleted = 0
    for _ in range(BATCHES):
        first = Event.objects.order_by("number").values_list("number", flat=True).first()
        if first is None or first > last:
            break
        deleted += Event.objects.filter(number__lte=min(first + BATCH - 1, last)).delete()[0]
    return deleted


def _last_to_delete() -> int:
    """Return the greatest event number that must be deleted."""
    environment = settings.ENVIRONMENT
    numbers = Event.objects.values_list("number", flat=True)
    newest = numbers.order_by("-number").first() or 0
    begin = clock.now() - dt.timedelta(days=environment.event_retention_days)
    too_old = numbers.filter(at__lt=begin).order_by("-at").first() or 0
    return max(newest - environment.event_most, too_old)
