"""Drain a node: cordon it, and move its replicas to other nodes."""

from dataclasses import dataclass

from django.db import transaction
from django.db.models import QuerySet

from events.kinds import Kind
from events.recording import record
from inventory.models import Backend
from inventory.services.node.register import BackendNotFound, settings_push
from provisioner.common import clock
from provisioner.common.queue import enqueue_on_commit
from provisioner.common.results import ProvisionerError, ResultCode
from tasks.models import ACTIVE, Task
from tasks.services import tasks_stop
from volumes.models import Drain, Replica, ReplicaRelocation

JOB = "move_replicas"
DRAIN = "drain"
"""The key in the outputs of a task with the id of the drained node that the task belongs to."""
OF_DRAIN = f"outputs__{DRAIN}"


class NotDrained(ProvisionerError):
    """The node has no drain."""

    code = ResultCode.NotExists


@dataclass(frozen=True)
class DrainStatus:
    """A drain and its progress.

    ``left``: the number of replicas on the node, including those that are being removed.
    ``refused``: failed attempts to move a replica that are not repeated yet, with the reason.
    """

    drain: Drain
    left: int
    tasks: list[Task]
    refused: QuerySet[ReplicaRelocation]

    @property
    def moved(self) -> int:
        """The number of replicas that left the node since the drain began: moved, or deleted by
        clients.
        """
        return max(0, self.drain.replicas_before - self.left)

    @property
    def pending_reason(self) -> str:
        """What the drain waits for, in a few words for clients and operators. "" means nothing."""
        if not self.left:
            return ""
        if self.tasks:
            return "its tasks"
        if self.refused.exists():
            return "replicas that cannot be moved yet"
        return "a worker to move its replicas, or the node to remove them"


def drain_start(*, persistent_id: str) -> None:
    """Cordon the node and move every replica that can be moved, until the drain is stopped.

    If the node is already being drained, that drain continues.

    :raises BackendNotFound: there is no such node.
    """
    with transaction.atomic(durable=True):
        backend = Backend.objects.select_for_update().filter(pk=persistent_id).first()
        if backend is None:
            raise BackendNotFound.of(persistent_id)
        number = Replica.objects.filter(backend=backend).count()
        if backend.in_use:  # uncordoning ended an earlier drain, whose row is still there
            Drain.objects.filter(backend=backend).delete()
        started = {"was_in_use": backend.in_use, "replicas_before": number}
        _, is_new = Drain.objects.get_or_create(backend=backend, defaults=started)
        if is_new:
            ReplicaRelocation.objects.filter(replica__backend=backend).delete()
            Backend.objects.filter(pk=persistent_id).update(in_use=False)
            record(Kind.DRAIN_STARTED, backend=persistent_id, replicas=number)
    if is_new:
        settings_push(persistent_id)
    enqueue_on_commit(f"volumes.jobs.{JOB}")


def drain_stop(*, persistent_id: str) -> None:
    """Stop the drain and undo the relocations that can still be stopped.

    The node is cordoned afterwards only if it was before the drain.

    :raises NotDrained: the node has no drain.
    """
    with transaction.atomic(durable=True):
        backend = Backend.objects.select_for_update().filter(pk=persistent_id).first()
        drain = Drain.objects.filter(pk=persistent_id).first()
        if backend is None or drain is None:
            raise NotDrained(f"backend {persistent_id!r} is not being drained")
        Backend.objects.filter(pk=persistent_id).update(in_use=drain.was_in_use)
        drain.delete()
        left = Replica.objects.filter(backend=persistent_id).count()
        record(Kind.DRAIN_STOPPED, backend=persistent_id, replicas=left)
    settings_push(persistent_id)
    drain_tasks_abort_stale()


def drains_finish() -> None:
    """Record the end of drains whose node holds no replica any more."""
    for key in Drain.objects.filter(finished_at=None, backend__replicas=None).values_list("pk"):
        with transaction.atomic(durable=True):
            drain_finish(*key)


def drain_finish(persistent_id: str) -> None:
    """Record the end of the node's drain, if it has not ended and the node holds no replica. Runs
    in the caller's transaction.
    """
    ended = Drain.objects.filter(pk=persistent_id, finished_at=None, backend__replicas=None)
    moved = ended.values_list("replicas_before", flat=True).first()
    if ended.update(finished_at=clock.now()):
        record(Kind.DRAIN_FINISHED, backend=persistent_id, replicas=moved)


def drain_get(*, persistent_id: str) -> DrainStatus:
    """Return the node's drain and its progress.

    :raises NotDrained: the node has no drain, or there is no such node.
    """
    drain = Drain.objects.select_related("backend").filter(pk=persistent_id).first()
    if drain is None:
        raise NotDrained(f"backend {persistent_id!r} is not being drained")
    left = Replica.objects.filter(backend=persistent_id)
    tasks = drain_tasks().filter(**{OF_DRAIN: persistent_id})
    refused = ReplicaRelocation.objects.filter(replica__backend=persistent_id).exclude(refusal="")
    return DrainStatus(drain, left.count(), list(tasks), refused.select_related("replica__volume"))


def drain_tasks() -> QuerySet[Task]:
    """Return the active tasks of all drains."""
    return Task.objects.filter(state__in=sorted(ACTIVE), **{f"{OF_DRAIN}__isnull": False})


def drain_tasks_abort_stale() -> None:
    """Stop and undo the tasks of drains that no longer exist.

    The tasks are read before the drains. A task is created after its drain, so no task of a new
    drain is mistaken for a stale one.
    """
    tasks = list(drain_tasks())
    drains = set(Drain.objects.values_list("pk", flat=True))
    stale = [task.pk for task in tasks if task.outputs[DRAIN] not in drains]
    tasks_stop(Task.objects.filter(pk__in=stale), description="the drain was stopped")
