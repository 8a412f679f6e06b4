"""ConnectVolume and DisconnectVolume. The host carries out these tasks and ends them."""

import datetime as dt

from django.conf import settings

from provisioner.common import clock
from tasks.context import Context, Reschedule
from tasks.models import Task, TaskType
from tasks.saga import Saga, Step, register
from volumes.sagas.replace_replica.steps import lock_volume
from volumes.sagas.replace_replica.waiting import Stalled


def supervise(context: Context) -> Reschedule:
    """Wait until the host ends the task.

    :raises Stalled: the task did not end within ``migration_silence_seconds``.
    """
    silence = dt.timedelta(seconds=settings.ENVIRONMENT.migration_silence_seconds)
    left = context.task.created_at + silence - clock.now()
    if left <= dt.timedelta(0):
        raise Stalled(f"its host did not finish it within {silence.total_seconds():.0f} s")
    return Reschedule(seconds=left.total_seconds(), pending_reason="the host")


def nothing_left(context: Context) -> None:
    """Do nothing, because the host did the work."""


def is_hosts(task: Task) -> bool:
    """Whether the host carries out the task. It always does."""
    return True


for kind in (TaskType.CONNECT_VOLUME, TaskType.DISCONNECT_VOLUME):
    steps = (Step(supervise), Step(nothing_left))
    register(Saga(kind, steps, lock_first=lock_volume, is_hosts=is_hosts))
