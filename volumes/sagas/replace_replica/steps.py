"""ReplicaSync: make a new replica, in addition to the others or in place of one of them."""

from collections.abc import Callable

from tasks.context import Context, Reschedule
from tasks.models import Task, TaskType
from tasks.saga import Saga, Step, register
from volumes.models import Volume
from volumes.sagas.replace_replica.fill import replica_fill, replica_make
from volumes.sagas.replace_replica.handover import (
    outgoing_release,
    outgoing_release_unconfirmed,
    replacement_undo,
    replica_look,
    replica_take_over,
)
from volumes.sagas.replace_replica.waiting import Stalled, wait_for
from volumes.selectors import LIVE

AT_ONCE = 20
"""How many steps a run may take without a pause between them."""


def make_replica(context: Context) -> Reschedule | None:
    """Make the new replica on its node."""
    return _repeat(context, replica_make)


def fill_replica(context: Context) -> Reschedule | None:
    """Rebuild the new replica, by a copy or by the host."""
    return _repeat(context, replica_fill)


def hand_over(context: Context) -> Reschedule | None:
    """Release the outgoing replica; if the host does not confirm in time, without its
    confirmation.
    """
    try:
        return _repeat(context, outgoing_release)
    except Stalled:
        outgoing_release_unconfirmed(context)
    return None


def look_at_new_one(context: Context) -> Reschedule | None:
    """Check once more that the new replica is on its node."""
    return _repeat(context, replica_look)


def take_over(context: Context) -> None:
    """Make the new replica the volume's own."""
    replica_take_over(context)


def lock_volume(task: Task) -> None:
    """Lock the task's volume. Everyone locks the volume before the task.

    Deleted volumes of the same uuid, which wait for their nodes, have no task.
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
register(Saga(TaskType.REPLICA_SYNC, STEPS, lock_first=lock_volume, last_look=look_at_new_one))
