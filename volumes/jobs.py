"""Celery functions."""

from celery import shared_task

from volumes import reconcilers


@shared_task
def collect() -> None:
    reconcilers.collect()
