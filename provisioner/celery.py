"""The Celery application and its beat schedule."""

import os
from typing import Any

from celery import Celery
from celery.signals import task_postrun, task_prerun
from django.conf import settings

from provisioner.common import logs

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "provisioner.settings")

app = Celery("provisioner")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(related_name="jobs")


def _every(seconds: int, task: str) -> dict[str, Any]:
    """A periodic job; a run that waited longer than its interval is dropped: the next one does its work."""
    return {"task": task, "schedule": float(seconds), "options": {"expires": float(seconds)}}


app.conf.beat_schedule = {
    "poll-late-backends": _every(
        settings.ENVIRONMENT.poll_interval_seconds, "inventory.jobs.poll_late_backends"
    ),
    "collect": _every(settings.ENVIRONMENT.collect_interval_seconds, "volumes.jobs.collect"),
    "purge-ended-tasks": _every(60, "tasks.jobs.purge_ended"),
}


@task_prerun.connect
def _remember_task_id(task_id: str | None = None, **_: object) -> None:
    logs.task_id.set(task_id or "")


@task_postrun.connect
def _forget_task_id(**_: object) -> None:
    logs.task_id.set("")
