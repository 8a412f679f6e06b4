"""Fills the new replica of a task: each call does one thing towards it, as the rows now demand.

A host that uses the volume fills it; where none does, the nodes copy. A replica that a host has
seen is never copied into, nor one whose copy was outdated: another takes its place.
"""

import logging
import time
from dataclasses import dataclass

from django.db.models import QuerySet
from django.utils import timezone

from inventory.models import Backend
from provisioner.common.models import LifeState
from provisioner.common.results import ProvisionerError, ResultCode
from tasks.runner import Context
from volumes.models import Export, Replica, ReplicaState, Volume
from volumes.selectors import LIVE
from volumes.services.copies import (
    CopyState,
    copies_withdraw,
    copy_advance,
    copy_close,
    copy_source,
)
from volumes.services.export_work import exports_make, exports_want, replicas_withdraw
from volumes.services.placing import Beginning, replicas_claim
from volumes.services.replacement import (
    AVOID,
    Unsettled,
    replacement_beginning,
    replacement_request,
    replica_made_by,
    volume_of,
)
from volumes.services.replica_making import replicas_make
from volumes.services.volume_removal import replicas_drop

REPLICAS_AT_MOST = 5
COPIES_AT_MOST = 10
POLL_SECONDS = 1.0
NODE_SECONDS = 5.0
HOST_SECONDS = 30.0
CALL_SECONDS = 8.0
LONGEST_PAUSE_SECONDS = 60.0
RATE = "rate"
GOOD = frozenset({ReplicaState.AVAILABLE, ReplicaState.UNKNOWN})

log = logging.getLogger(__name__)


class FillingFailed(ProvisionerError):
    """The new replica does not come to hold the volume's data."""

    code = ResultCode.NotAvailable


@dataclass(frozen=True)
class Waiting:
    """Not done: look again in ``seconds``, 0 is at once. ``sign``: changes while there is life in
    what is waited for.
    """

    text: str
    seconds: float = 0.0
    sign: str = ""


def replica_make(context: Context) -> Waiting | None:
    """The task has a new replica, on its node; None: that is so."""
    task = context.task
    volume = volume_of(task)
    replica = replica_made_by(task)
    if replica is None:
        return _claim(context, volume)
    if replica.state == LifeState.READY:
        return None
    failed = replicas_make(volume, until=_until())
    if failed is None:
        return None
    context.outputs[AVOID] = [*context.outputs.get(AVOID, ()), str(replica.backend_id)]
    return _give_up(context, replica, failed.text)


def replica_fill(context: Context) -> Waiting | None:
    """The task's new replica holds the data; None: that is so. That of a one-replica volume is
    still ``filling`` then: it takes over with the last step.

    :raises FillingFailed: it was given up.
    :raises ProvisionerError: there is no other place for it.
    """
    if waiting := replica_make(context):
        return waiting
    replica = replica_made_by(context.task)
    if replica is None or replica.backend is None:
        return _give_up(context, replica, "the node of its new replica was removed")
    if replica.filling:
        return _copy(context, replica)
    if replica.replica_state == ReplicaState.AVAILABLE:
        return None
    return _wait_for_host(context, replica)


def _until() -> float:
    """Well within a task's lease."""
    return time.monotonic() + CALL_SECONDS


def _claim(context: Context, volume: Volume) -> Waiting:
    """Claim another replica, once a former one is out of its way."""
    former = Replica.objects.filter(made_by=context.task.pk, state=LifeState.DELETING)
    replicas_drop(former, until=_until())
    if volume.num_replicas == 1 and former.filter(backend__in=Backend.objects.available()).exists():
        return Waiting("the copy it gave up to be removed", NODE_SECONDS)
    count = context.outputs.get("replicas", 0) + 1
    if count > REPLICAS_AT_MOST:
        raise FillingFailed(f"{REPLICAS_AT_MOST} new replicas were given up, one after the other")

    def write() -> Beginning:
        return replacement_beginning(volume_of(context.task), context.task)

    request = replacement_request(volume, context.task)
    try:
        replicas_claim(volume, request, write, within=context.transaction)
    except Unsettled as error:
        return Waiting(error.description, NODE_SECONDS)
    context.outputs["replicas"] = count
    return Waiting("its new replica to be made")


def _copy(context: Context, replica: Replica) -> Waiting | None:
    """While no host uses the volume."""
    if replica.replica_state == ReplicaState.MISSING:
        return _give_up(context, replica, "the node lost its new replica")
    if replica.replica_state == ReplicaState.UNKNOWN:
        return _close(context, replica) or _leave_to_host(context, replica)
    if not _copies(replica).exclude(state=LifeState.DELETING).exists():
        return _close(context, replica) or _settle(context, replica)
    source = copy_source(replica)
    if source is None or source.replica_state not in GOOD:
        return _give_up(context, replica, "what was copied into its new replica is gone")
    state = copy_advance(replica, source, until=_until())
    if state.done:
        _end_copy(context, replica)
        return Waiting("the copy's target to go")
    return _note(context, state, f"the copy from node {source.backend_id} to {replica.backend_id}")


def _note(context: Context, state: CopyState, text: str) -> Waiting:
    """Progress, or what hinders it; :raises FillingFailed: begun anew too often."""
    if state.begun:
        begun = context.outputs["copies"] = context.outputs.get("copies", 0) + 1
        if begun > COPIES_AT_MOST:
            raise FillingFailed(f"{text} failed {COPIES_AT_MOST} times: {state.trouble}")
        context.outputs.pop(RATE, None)
        seconds = min(POLL_SECONDS * 2 ** (begun - 1), LONGEST_PAUSE_SECONDS)
        return Waiting(text, seconds, f"begun {begun}")
    if state.trouble:
        return Waiting(f"{text}: {state.trouble}", NODE_SECONDS)
    context.heartbeat(
        state.bytes_done / max(state.bytes_total, 1),
        bytes_done=state.bytes_done,
        bytes_total=state.bytes_total,
        bytes_per_second=_rate(context, state.bytes_done),
    )
    return Waiting(text, POLL_SECONDS, str(state.bytes_done))


def _rate(context: Context, bytes_done: int) -> int | None:
    """Bytes per second since the copy was looked at before."""
    now = time.time()
    before_at, before = context.outputs.get(RATE, (now, bytes_done))
    context.outputs[RATE] = [now, bytes_done]
    return int((bytes_done - before) / (now - before_at)) if now > before_at else None


def _end_copy(context: Context, replica: Replica) -> None:
    """It is done: nobody shall copy any more. Unless a host was let in since."""
    with context.transaction():
        if _copied(replica).exists():
            copies_withdraw(replica)


def _close(context: Context, replica: Replica) -> Waiting | None:
    """The target of the copy is gone for certain: what is late cannot write any more."""
    if copy_close(replica, until=_until()):
        return Waiting(f"node {replica.backend_id} to withdraw the copy's target", NODE_SECONDS)
    return None


def _settle(context: Context, replica: Replica) -> Waiting | None:
    """It is Available like the others; that of a one-replica volume takes over later."""
    if replica.volume.num_replicas == 1:
        return None
    with context.transaction():
        _copied(replica).filter(exports__isnull=True).update(
            filling=False,
            replica_state=ReplicaState.AVAILABLE,
            replica_state_since=timezone.now(),
        )
    return Waiting("its new replica")


def _leave_to_host(context: Context, replica: Replica) -> Waiting:
    """A host was let in before the copy had ended: it goes on with it, if it still is there."""
    with context.transaction():
        publications = list(replica.volume.publications.select_related("host"))
        rows = Replica.objects.filter(pk=replica.pk, state=LifeState.READY, exports__isnull=True)
        if publications and rows.update(filling=False):
            for publication in publications:
                exports_want(publication)
            return Waiting("its host")
    return _give_up(context, replica, "a host used the volume during the copy")


def _wait_for_host(context: Context, replica: Replica) -> Waiting:
    publications = list(replica.volume.publications.select_related("host"))
    if replica.replica_state == ReplicaState.TERMINATING:
        raise FillingFailed(f"the new replica {replica.uuid!r} was marked for removal")
    if not publications:
        return _give_up(context, replica, "the volume went offline before its host had filled it")
    if replica.exports.count() < len(publications):
        with context.transaction():
            for publication in replica.volume.publications.select_related("host"):
                exports_want(publication)
    exports_make(replica.exports.filter(state=LifeState.CREATING), until=_until())
    signs = [replica.replica_state, str(context.task.heard_at)]
    if replica.replica_state == ReplicaState.SYNCHRONIZING:
        signs += [str(publication.host.last_probe_at) for publication in publications]
    return Waiting(
        f"its host to report the new replica {replica.uuid} Available",
        HOST_SECONDS,
        " ".join(signs),
    )


def _give_up(context: Context, replica: Replica | None, why: str) -> Waiting:
    """Another one takes its place."""
    if replica is not None:
        log.warning("new replica given up", extra={"replica": replica.uuid, "reason": why})
        with context.transaction():
            rows = Replica.objects.filter(LIVE, pk=replica.pk, made_by=context.task.pk)
            replicas_withdraw(rows, deadline_at=timezone.now())
    return Waiting(why)


def _copied(replica: Replica) -> QuerySet[Replica]:
    """The replica, in a transaction that holds its volume, while its copy is good."""
    return Replica.objects.filter(
        pk=replica.pk,
        state=LifeState.READY,
        filling=True,
        replica_state=ReplicaState.SYNCHRONIZING,
        volume__publications__isnull=True,
    )


def _copies(replica: Replica) -> QuerySet[Export]:
    return replica.exports.filter(for_copy=True)
