"""Celery jobs of the event log."""

from celery import shared_task
from django.contrib.sessions.backends.db import SessionStore

from events.retention import events_prune


@shared_task
def prune() -> None:
    """Delete events that are too old or too many, and expired sessions of the console."""
    events_prune()
    SessionStore.clear_expired()
