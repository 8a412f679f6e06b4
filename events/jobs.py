"""Celery jobs of the event log."""

from celery import shared_task

from events.retention import events_prune


@shared_task
def prune() -> None:
    """Delete events that are too old or too many."""
    events_prune()
