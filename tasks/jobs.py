"""Celery jobs of tasks."""

from celery import shared_task

from tasks import runner
from tasks.services import ended_purge
from tasks.submission import tasks_requeue


@shared_task
def run_task(task_id: str) -> None:
    runner.run(task_id)


@shared_task
def requeue_abandoned() -> None:
    tasks_requeue()


@shared_task
def purge_ended() -> None:
    ended_purge()
