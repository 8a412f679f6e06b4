"""Start the replacement of lost replicas, and of replicas on drained nodes.

A replacement is a task: ``ReplicaSync``, or a ``RemoteMigration`` that the host of the volume
carries out. One worker at a time starts replacements, so that their number is limited. If this
worker dies, the rows show which replacements it started.
"""

import datetime as dt
import logging
from typing import Any

from django.conf import settings
from django.db import IntegrityError
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from provisioner.common import clock
from provisioner.common.models import LifeState
from provisioner.common.results import ProvisionerError
from provisioner.common.writes import writes_barred
from tasks.models import ACTIVE, Task, TaskState, TaskType
from volumes.models import Drain, Replica, ReplicaRelocation
from volumes.reconcilers.job_lease import HeldLease, job_lease_acquire
from volumes.reconcilers.self_healing import replicas_lost
from volumes.services.errors import CannotMove
from volumes.services.node.drain import (
    DRAIN,
    JOB,
    OF_DRAIN,
    drain_tasks,
    drain_tasks_abort_stale,
    drains_finish,
)
from volumes.services.replica.migrate import volume_migrate
from volumes.services.replica.replace import replica_sync_submit

log = logging.getLogger(__name__)

TRY_AT_MOST = 16
"""The number of attempts in one round, for each drain and for lost replicas."""
PAUSE = dt.timedelta(seconds=60)
LONGEST_PAUSE = dt.timedelta(hours=1)


def relocate_replicas() -> None:
    """Start as many replacements as may be active, lost replicas first. One worker at a time does
    this.

    While writes are barred, no replacement is started.
    """
    lease = None if writes_barred() else job_lease_acquire(JOB)
    if lease is None:
        return
    try:
        Drain.objects.filter(backend__in_use=True).delete()
        drain_tasks_abort_stale()
        drains_finish()
        _record_ends()
        _start_relocations(lease, _relocatable(replicas_lost(lease.unbroken_since)), None)
        for drain in Drain.objects.order_by("started_at"):
            _start_relocations(lease, _relocatable(Replica.objects.filter(backend=drain.pk)), drain)
    finally:
        lease.release()


def _relocatable(rows: QuerySet[Replica]) -> QuerySet[Replica]:
    """Return the replicas that are due and whose volume has no active task. Replicas without an
    earlier attempt come first.
    """
    active = Task.objects.filter(volume_id=OuterRef("volume__uuid"), state__in=sorted(ACTIVE))
    rows = rows.filter(~Exists(active), state=LifeState.READY, rebuilding=False)
    due = Q(relocation__isnull=True) | Q(relocation__again_at__lte=clock.now())
    first = F("relocation__again_at").asc(nulls_first=True)
    return rows.filter(due).select_related("volume").order_by(first, "pk")


def _start_relocations(lease: HeldLease, rows: QuerySet[Replica], drain: Drain | None) -> None:
    """Start at most one replacement for each volume, because a volume has one task at a time."""
    tried: set[int] = set()
    for replica in rows[:TRY_AT_MOST]:
        if replica.volume_id in tried:
            continue
        if not (_has_room(drain) and lease.renew()):
            return
        _start(replica, drain)
        tried.add(replica.volume_id)


def _has_room(drain: Drain | None) -> bool:
    """Whether one more task may start. Lost replicas do not wait for drains, because the copies of
    a drain may take long.
    """
    environment = settings.ENVIRONMENT
    tasks = Task.objects.filter(state__in=sorted(ACTIVE))
    relocations = tasks.filter(type=TaskType.REPLICA_SYNC)
    if drain is None:
        others = relocations.filter(**{f"{OF_DRAIN}__isnull": True})
        return others.count() < environment.moves_parallel
    goes_on = Drain.objects.filter(pk=drain.pk, backend__in_use=False).exists()
    return (
        goes_on
        and (relocations | drain_tasks()).count() < environment.moves_parallel
        and tasks.filter(**{OF_DRAIN: drain.pk}).count() < environment.drain_parallel
    )


def _start(replica: Replica, drain: Drain | None) -> None:
    """Start one attempt. A failure is logged and does not stop other attempts."""
    about = {"replica": replica.uuid, "volume": replica.volume.uuid, "node": replica.backend_id}
    try:
        _begin_attempt(replica)
        task = _submit(replica, {DRAIN: drain.pk} if drain else {})
    except ProvisionerError as refused:
        ReplicaRelocation.objects.filter(pk=replica.pk).update(refusal=refused.description)
        log.info("replica not moved", extra=about | {"reason": refused.description})
    except Exception:
        log.exception("replica not moved", extra=about)
    else:
        ReplicaRelocation.objects.filter(pk=replica.pk).update(task_id=task.pk)
        log.info("replica moves", extra=about | {"task": task.pk})


def _begin_attempt(replica: Replica) -> None:
    """Store the time of the next attempt before this attempt starts, so that the pause holds even
    if the worker dies.

    :raises CannotMove: the replica was removed meanwhile.
    """
    before = ReplicaRelocation.objects.filter(pk=replica.pk).first()
    attempts = before.attempts + 1 if before else 1
    changes: dict[str, Any] = {"attempts": attempts, "task_id": "", "refusal": ""}
    changes |= {"again_at": clock.now() + _pause(attempts)}
    try:
        ReplicaRelocation.objects.update_or_create(replica=replica, defaults=changes)
    except IntegrityError:
        raise CannotMove("the replica was removed meanwhile") from None


def _pause(attempts: int) -> dt.timedelta:
    """Return the pause after ``attempts`` attempts. Each pause is twice as long as the previous
    one.
    """
    doublings = min(attempts - 1, 10)
    return min(PAUSE * (1 << doublings), LONGEST_PAUSE)


def _submit(replica: Replica, outputs: dict[str, str]) -> Task:
    """Create a task that moves the replica. The host of the volume carries the task out if it has
    an agent.

    :raises ProvisionerError: the replica cannot be moved now; the text says why.
    """
    volume = replica.volume
    users = volume.publications.all()
    if volume.num_replicas > 1 and users.exists():
        if not users.filter(host__available_until__gte=clock.now()).exists():
            raise CannotMove(
                f"volume {volume.uuid!r} is published only to hosts that are Unavailable"
            )
        if users.filter(host__agent_until__gte=clock.now()).exists():
            return volume_migrate(
                volume_uuid=volume.uuid, replica_uuid=replica.uuid, tenant_id=None, outputs=outputs
            )
    return replica_sync_submit(volume_uuid=volume.uuid, outgoing_uuid=replica.uuid, outputs=outputs)


def _record_ends() -> None:
    """For each attempt whose task has ended, record why it failed and when the next attempt is
    due.
    """
    relocations = {
        relocation.task_id: relocation
        for relocation in ReplicaRelocation.objects.exclude(task_id="")
    }
    tasks = {task.pk: task for task in Task.objects.filter(pk__in=relocations)}
    for task_id, relocation in relocations.items():
        task = tasks.get(task_id)
        if task is not None and task.state in ACTIVE:
            continue
        changes: dict[str, Any] = {"task_id": ""}
        if task is not None and task.state != TaskState.FINISHED:
            text = f"task {task_id} is {task.state}: {task.description}"
            again_at = (task.ended_at or clock.now()) + _pause(relocation.attempts)
            changes |= {"refusal": text, "again_at": again_at}
        ReplicaRelocation.objects.filter(pk=relocation.pk, task_id=task_id).update(**changes)
