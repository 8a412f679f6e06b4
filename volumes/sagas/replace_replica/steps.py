"""ReplicaSync: create a new replica, as an additional one or to replace another one."""

from collections.abc import Callable

from tasks.context import Context, Reschedule
from tasks.models import Task, TaskType
from tasks.saga import Saga, Step, register
from volumes.models import Volume
from volumes.sagas.replace_replica.fill import replica_fill, replica_make
from volumes.sagas.replace_replica.handover import (
    new_replica_verify,
    outgoing_release,
    outgoing_release_unconfirmed,
    replacement_undo,
    replica_take_over,
)
from volumes.sagas.replace_replica.waiting import Stalled, wait_for
from volumes.selectors import LIVE

AT_ONCE = 20
"""The number of steps that a run may take without a pause."""


def make_replica(context: Context) -> Reschedule | None:
    """Create the new replica on its node."""
    return _repeat(context, replica_make)


def fill_replica(context: Context) -> Reschedule | None:
    """Rebuild the new replica, by a copy or by the host."""
    return _repeat(context, replica_fill)


def hand_over(context: Context) -> Reschedule | None:
    """Release the outgoing replica when the host confirms, or after a time limit."""
    try:
        return _repeat(context, outgoing_release)
    except Stalled:
        outgoing_release_unconfirmed(context)
    return None


def verify_new_replica(context: Context) -> Reschedule | None:
    """Ask the node once more for the new replica."""
    return _repeat(context, new_replica_verify)


def take_over(context: Context) -> None:
    """Make the new replica a regular replica of the volume."""
    replica_take_over(context)


def lock_volume(task: Task) -> None:
    """Lock the volume of the task. The order of locks is: volume, then task.

    Deleted volumes of the same uuid, which wait for their nodes, have no task and are not locked.
    """
    Volume.objects.select_for_update().filter(LIVE, uuid=task.volume_id).first()


def _repeat(context: Context, work: Callable[[Context], Reschedule | None]) -> Reschedule | None:
    count = 0
    while waiting := work(context):
        count += 1
        if waiting.seconds or count == AT_ONCE:
            return wait_for(context, waiting)
        context.heartbeat()
    return None


STEPS = (
    Step(make_replica, 1, replacement_undo),
    Step(fill_replica, 17),
    Step(hand_over, 1),
    Step(take_over, 1),
)
register(Saga(TaskType.REPLICA_SYNC, STEPS, lock_first=lock_volume, final_check=verify_new_replica))
