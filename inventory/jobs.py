"""Celery functions of the pool."""

from celery import shared_task

from inventory import reconcilers
from inventory.services.readings import backend_refresh


@shared_task
def poll_late_backends() -> None:
    reconcilers.poll_late_backends()


@shared_task
def refresh_backend(persistent_id: str) -> None:
    backend_refresh(persistent_id=persistent_id)
