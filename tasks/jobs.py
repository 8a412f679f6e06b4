"""Celery functions of tasks."""

from celery import shared_task

from tasks.services import ended_purge


@shared_task
def purge_ended() -> None:
    ended_purge()
