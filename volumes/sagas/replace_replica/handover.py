"""The end of a replacement: remove the outgoing replica, or the new one if the task failed."""

from django.db.models import QuerySet

from events.kinds import Kind
from provisioner.common import clock
from provisioner.common.queue import enqueue_on_commit
from provisioner.common.results import ProvisionerError, ResultCode
from tasks.context import Context, Reschedule
from tasks.models import Task
from volumes.models import Replica, ReplicaState, Volume
from volumes.sagas.replace_replica.waiting import HOST_SECONDS, NODE_SECONDS, task_call_deadline
from volumes.selectors import LIVE
from volumes.services.errors import ReplicaTerminating
from volumes.services.node.contents import is_lost
from volumes.services.node.missing import replicas_verify
from volumes.services.publication.exports import mark_replicas_deleting
from volumes.services.replica.replacement_rules import (
    NEVER_ATTACHED,
    OUTGOING,
    never_attached,
    outgoing_replica,
    replica_created_by,
    volume_of,
)
from volumes.services.replica.state import replica_record, replica_state_set


class ReplicaLost(ProvisionerError):
    """The new replica cannot take over."""

    code = ResultCode.NotAvailable


def outgoing_release(context: Context) -> Reschedule | None:
    """Wait until the host no longer uses the outgoing replica. Returns None when it has confirmed.

    :raises ReplicaLost: the new replica is no longer Available, or its node lost it.
    :raises ReplicaTerminating: another replica is being removed.
    """
    if waiting := new_replica_verify(context):
        return waiting
    outgoing = outgoing_replica(context.task)
    if outgoing is None or not outgoing.volume.publications.exists():
        return None
    if outgoing.replica_state != ReplicaState.TERMINATING:
        with context.transaction():
            _require_available(context.task)
            _mark(outgoing)
    return Reschedule(
        f"its host to confirm that it no longer uses replica {outgoing.uuid}", HOST_SECONDS
    )


def new_replica_verify(context: Context) -> Reschedule | None:
    """Ask the node for the new replica. Returns None when the node has confirmed that it holds it.

    Neither replica is removed before that.

    :raises ReplicaLost: the node lost it.
    """
    task = context.task
    new = replica_created_by(task)
    outcome = replicas_verify([new], until=task_call_deadline())[new.pk] if new else False
    if is_lost(outcome):
        raise ReplicaLost(f"the new replica of volume {task.volume_id!r} is lost: {outcome}")
    if new is None or isinstance(outcome, bool):
        return None
    return Reschedule(f"node {new.backend_id} to show the new replica", NODE_SECONDS)


def _mark(outgoing: Replica) -> None:
    beside = Replica.objects.filter(LIVE, volume=outgoing.volume_id)
    if beside.filter(replica_state=ReplicaState.TERMINATING).exists():
        raise ReplicaTerminating(
            f"another replica of volume {outgoing.volume.uuid!r} is already marked"
        )
    replica_state_set(beside.filter(pk=outgoing.pk), ReplicaState.TERMINATING)


def outgoing_release_unconfirmed(context: Context) -> None:
    """Remove the outgoing replica although the host did not confirm in time.

    The host has reported the new replica Available before.

    :raises ReplicaLost: the new replica is no longer Available, or its node did not confirm it.
    """
    if waiting := new_replica_verify(context):
        raise ReplicaLost(f"waited in vain for {waiting.pending_reason}")
    with context.transaction():
        _require_available(context.task)
        _mark_deleting(Replica.objects.filter(LIVE, pk=context.task.outputs[OUTGOING]))


def replica_take_over(context: Context) -> None:
    """Make the new replica a regular replica of the volume, and mark the outgoing one as deleting.

    The new replica becomes Unknown if no host ever attached the volume, or if it is the only one.
    Runs inside the transaction that ends the task.

    :raises ReplicaLost: the new replica is not in the right state, or the volume was just
        published.
    """
    task = context.task
    volume = volume_of(task)
    outgoing = Replica.objects.filter(LIVE, pk=task.outputs.get(OUTGOING))
    only = volume.num_replicas == 1
    new = _require_copied(volume, task) if only else _require_available(task)
    if volume.publications.exists() and outgoing.exists():
        raise ReplicaLost(f"volume {volume.uuid!r} was just published: try again")
    is_unknown = new.rebuilding or (task.outputs.get(NEVER_ATTACHED) and never_attached(new))
    for old in outgoing.all():
        replica_record(
            Kind.REPLICA_REPLACED,
            new,
            task=task.pk,
            former=old.uuid,
            formerBackend=old.backend_id,
        )
    _mark_deleting(outgoing)
    if is_unknown:
        Replica.objects.filter(pk=new.pk).update(rebuilding=False)
        replica_state_set(Replica.objects.filter(pk=new.pk), ReplicaState.UNKNOWN)


def _require_available(task: Task) -> Replica:
    """Return the new replica of a volume with several replicas.

    :raises ReplicaLost: the replica is not Available.
    """
    new = replica_created_by(task)
    if new is None or new.rebuilding or new.replica_state != ReplicaState.AVAILABLE:
        state = new.replica_state if new else "gone"
        raise ReplicaLost(f"the new replica of volume {task.volume_id!r} is {state}")
    return new


def _require_copied(volume: Volume, task: Task) -> Replica:
    """Return the new replica of a one-replica volume.

    The function may be called again after the replica took over.

    :raises ReplicaLost: the replica cannot take over.
    """
    new = replica_created_by(task)
    if new is None or new.exports.exists() or volume.snapshots.exists():
        raise ReplicaLost(
            f"the new replica of volume {task.volume_id!r} cannot replace the outgoing one"
        )
    if new.rebuilding and new.replica_state != ReplicaState.SYNCHRONIZING:
        raise ReplicaLost(f"the new replica of volume {task.volume_id!r} is {new.replica_state}")
    return new


def replacement_undo(task: Task) -> None:
    """Undo the replacement: mark the new replica as deleting, and keep the outgoing one.

    Runs inside the transaction that ends the task as FAILED or ABORTED and holds the volume's lock.

    Once the outgoing replica was marked Terminating, the host may have written only to the new one.
    Then, if the new one is Available, the outgoing one is deleted instead. If the new one is not
    Available, the outgoing one is Missing until its host reports otherwise. The last Available
    replica always stays.
    """
    made = Replica.objects.filter(LIVE, created_by_task=task.pk)
    old = Replica.objects.filter(LIVE, pk=task.outputs.get(OUTGOING))
    others = Replica.objects.filter(LIVE, volume__uuid=task.volume_id).exclude(
        created_by_task=task.pk
    )
    good = made.filter(rebuilding=False, replica_state=ReplicaState.AVAILABLE)
    told = old.filter(replica_state=ReplicaState.TERMINATING)
    if task.outputs.get(OUTGOING) and not old.exists():
        _keep(made.filter(rebuilding=False))
    elif good.exists() and told.exists():
        _mark_deleting(told)
        _keep(good)
    elif not others.filter(replica_state=ReplicaState.AVAILABLE).exists():
        _keep(good)
    _mark_deleting(made)
    replica_state_set(told, ReplicaState.MISSING)


def _keep(rows: QuerySet[Replica]) -> None:
    rows.update(created_by_task="")


def _mark_deleting(rows: QuerySet[Replica]) -> None:
    mark_replicas_deleting(rows, deadline_at=clock.now())
    enqueue_on_commit("volumes.jobs.collect")
