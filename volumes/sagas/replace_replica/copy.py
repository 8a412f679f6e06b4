"""Rebuild the new replica of a task by a copy from node to node. This is done only while no host
uses the volume.
"""

from django.db.models import QuerySet

from provisioner.common import clock
from provisioner.common.models import LifeState
from tasks.context import Context, Reschedule
from volumes.models import Export, Replica, ReplicaState
from volumes.sagas.replace_replica.waiting import (
    NODE_SECONDS,
    RebuildFailed,
    replica_abort,
    task_call_deadline,
)
from volumes.services.copies import (
    CopyState,
    copy_begin,
    copy_close,
    copy_read,
    copy_renew,
    copy_source,
    mark_copies_deleting,
)
from volumes.services.node.contents import is_lost
from volumes.services.node.missing import replicas_verify
from volumes.services.publication.exports import record_desired_exports_for_all_hosts
from volumes.services.replica.replacement_rules import NEVER_ATTACHED, never_attached

COPIES_AT_MOST = 10
POLL_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
RATE = "rate"
LOST = "the node lost its new replica"
GOOD = frozenset({ReplicaState.AVAILABLE, ReplicaState.UNKNOWN})


def replica_copy(context: Context, replica: Replica) -> Reschedule | None:
    """Take the next step of the copy.

    Returns None when all data is copied and no late write can arrive. If the volume has several
    replicas, the new one is then Available.

    :raises RebuildFailed: the copy was started too often.
    """
    if replica.replica_state == ReplicaState.MISSING:
        return replica_abort(context, replica, LOST)
    if replica.replica_state == ReplicaState.UNKNOWN:
        return _close(context, replica) or _leave_to_host(context, replica)
    if not _copies(replica).exclude(state=LifeState.DELETING).exists():
        return _close(context, replica) or _set_available(context, replica)
    source = copy_source(replica)
    if source is None or source.replica_state not in GOOD:
        return replica_abort(
            context, replica, "the data that was copied to its new replica is lost"
        )
    if source.exports.exists():
        return Reschedule(f"node {source.backend_id} to stop exporting it", NODE_SECONDS)
    state = copy_read(replica, source, until=task_call_deadline())
    if state.over:
        state = _begin(context, replica, source, state.trouble)
    if state.done:
        _end_copy(context, replica)
        return Reschedule("the copy's target to be removed")
    return _record_progress(
        context, state, f"the copy from node {source.backend_id} to {replica.backend_id}"
    )


def _begin(context: Context, replica: Replica, source: Replica, why: str) -> CopyState:
    with context.transaction():
        if _copied(replica).exists():
            copy_renew(replica, source)
    return copy_begin(replica, source, why, until=task_call_deadline())


def _record_progress(context: Context, state: CopyState, text: str) -> Reschedule:
    """Store the progress of the copy, or the reason why it makes no progress."""
    if state.begun:
        begun = context.outputs["copies"] = context.outputs.get("copies", 0) + 1
        if begun > COPIES_AT_MOST:
            raise RebuildFailed(f"{text} failed {COPIES_AT_MOST} times: {state.trouble}")
        context.outputs.pop(RATE, None)
        seconds = min(POLL_SECONDS * 2 ** (begun - 1), LONGEST_PAUSE_SECONDS)
        return Reschedule(text, seconds, f"begun {begun}")
    if state.trouble:
        return Reschedule(f"{text}: {state.trouble}", NODE_SECONDS, text)
    context.heartbeat(
        state.bytes_done / max(state.bytes_total, 1),
        bytes_done=state.bytes_done,
        bytes_total=state.bytes_total,
        bytes_per_second=_rate(context, state.bytes_done),
    )
    return Reschedule(text, POLL_SECONDS, str(state.bytes_done), ends_by_itself=True)


def _rate(context: Context, bytes_done: int) -> int | None:
    """Bytes per second since the copy was last read. None: unknown."""
    now = clock.epoch_seconds()
    before_at, before = context.outputs.get(RATE, (now, bytes_done))
    context.outputs[RATE] = [now, bytes_done]
    return int((bytes_done - before) / (now - before_at)) if now > before_at else None


def _end_copy(context: Context, replica: Replica) -> None:
    """Remove the target of the finished copy. If a host was admitted meanwhile, change nothing."""
    with context.transaction():
        if _copied(replica).exists():
            mark_copies_deleting(replica)


def _close(context: Context, replica: Replica) -> Reschedule | None:
    """Wait until the target of the copy is removed on its node, so that no late write can
    arrive.
    """
    if copy_close(replica, until=task_call_deadline()):
        return Reschedule(f"node {replica.backend_id} to remove the copy's target", NODE_SECONDS)
    return None


def _set_available(context: Context, replica: Replica) -> Reschedule | None:
    """Set the copied replica Available after its node has confirmed it.

    The replica of a one-replica volume does not change its state here. It takes over later.
    """
    outcome = replicas_verify([replica], until=task_call_deadline())[replica.pk]
    if is_lost(outcome):
        return replica_abort(context, replica, LOST)
    if not isinstance(outcome, bool):
        return Reschedule(f"node {replica.backend_id} to show the new replica", NODE_SECONDS)
    if replica.volume.num_replicas == 1:
        return None
    with context.transaction():
        context.outputs[NEVER_ATTACHED] = never_attached(replica)
        _copied(replica).filter(exports__isnull=True).update(
            rebuilding=False,
            replica_state=ReplicaState.AVAILABLE,
            replica_state_since=clock.now(),
        )
    return Reschedule("its new replica")


def _leave_to_host(context: Context, replica: Replica) -> Reschedule:
    """Handle a host that was admitted before the copy ended: the host rebuilds the replica. If the
    host no longer uses the volume, abort the replica.
    """
    with context.transaction():
        rows = Replica.objects.filter(pk=replica.pk, state=LifeState.READY, exports__isnull=True)
        if replica.volume.publications.exists() and rows.update(rebuilding=False):
            record_desired_exports_for_all_hosts(replica.volume)
            return Reschedule("its host")
    return replica_abort(context, replica, "the volume was published during the copy")


def _copied(replica: Replica) -> QuerySet[Replica]:
    """The replica, if its copy is still valid. Call this in a transaction that holds the lock of
    the volume.
    """
    return Replica.objects.filter(
        pk=replica.pk,
        state=LifeState.READY,
        rebuilding=True,
        replica_state=ReplicaState.SYNCHRONIZING,
        volume__publications__isnull=True,
    )


def _copies(replica: Replica) -> QuerySet[Export]:
    return replica.exports.filter(for_copy=True)
