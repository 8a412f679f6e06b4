"""RemoteMigration: move a replica of a volume in use to another node.

Either the host does the work and a worker supervises it, or a worker does it with the steps of
ReplicaSync.
"""

import datetime as dt
from dataclasses import replace

from django.conf import settings

from provisioner.common import clock
from tasks.context import Context, Reschedule
from tasks.models import TaskType
from tasks.saga import Saga, register
from volumes.sagas.replace_replica.steps import STEPS, lock_volume, make_replica, verify_new_replica
from volumes.sagas.replace_replica.waiting import Stalled
from volumes.services.replica.migrate import is_hosts, migration_last_activity_at

LONGEST = dt.timedelta(days=7)
"""A host may copy for days, and any report of a replica of the volume counts as progress."""


def begin(context: Context) -> Reschedule | None:
    """Supervise the host, or create the new replica if the provisioner does the work."""
    return supervise(context) if is_hosts(context.task) else make_replica(context)


def supervise(context: Context) -> Reschedule:
    """Wait until the host ends the task.

    :raises Stalled: the host reported nothing for ``migration_silence_seconds``, or did not end the
        task within LONGEST.
    """
    if clock.now() - context.task.created_at > LONGEST:
        raise Stalled(f"its host has not ended it within {LONGEST.days} days")
    silence = dt.timedelta(seconds=settings.ENVIRONMENT.migration_silence_seconds)
    left = migration_last_activity_at(context.task) + silence - clock.now()
    if left <= dt.timedelta(0):
        seconds = silence.total_seconds()
        raise Stalled(f"its host has reported nothing for {seconds:.0f} s")
    return Reschedule(seconds=left.total_seconds(), pending_reason="the host")


first, *others = STEPS
steps = (replace(first, run=begin), *others)
register(
    Saga(
        TaskType.REMOTE_MIGRATION,
        steps,
        lock_first=lock_volume,
        final_check=verify_new_replica,
        is_hosts=is_hosts,
    )
)
