"""Recover volumes and replicas whose rows are older than the contents of nodes."""

from django.db import transaction
from django.db.models import Q, QuerySet

from provisioner.common import clock
from provisioner.common.models import LifeState
from provisioner.common.results import ProvisionerError
from tasks.services import tasks_abort
from volumes.models import Replica, ReplicaState, Volume
from volumes.reconcilers.recovery.findings import Copy, Findings
from volumes.reconcilers.recovery.places import (
    replica_delete_row,
    replica_row,
    volume_expand_rows,
)
from volumes.selectors import LIVE
from volumes.services.publication.exports import mark_replicas_deleting
from volumes.services.replica.state import replica_state_set


def volumes_resolve(findings: Findings) -> None:
    """Make each volume that is not being deleted agree with the nodes.

    Each volume is handled in its own savepoint within the caller's transaction. A volume that
    cannot be resolved is reported and does not stop the others.
    """
    for volume in _concerned(findings).select_for_update().order_by("pk"):
        said = len(findings.report)
        try:
            with transaction.atomic():
                _resolve(volume, findings)
        except ProvisionerError as error:
            del findings.report[said:]
            findings.report.append(f"volume {volume.uuid} is not resolved: {error.description}")


def _concerned(findings: Findings) -> QuerySet[Volume]:
    volumes = Volume.objects.filter(LIVE)
    if not findings.returned:
        return volumes
    on_it = Replica.objects.filter(backend=findings.returned).values("volume")
    owners = {copy.found.owner.volume for copy in findings.copies() if copy.found.owner}
    return volumes.filter(Q(pk__in=on_it) | Q(uuid__in=owners))


def _resolve(volume: Volume, findings: Findings) -> None:
    replicas = list(volume.replicas.select_related("volume", "backend").filter(LIVE))
    held = {r.pk: copy for r in replicas if (copy := findings.copy_of(r))}
    silent = [r for r in replicas if r.pk not in held and findings.is_silent(r)]
    lost = [r for r in replicas if r.pk not in held and r not in silent]
    _note_incomplete([r for r in replicas if r.pk in held], held)
    if not _has_source(replicas, held, silent):
        _adopt(volume, lost, replicas, held, findings)
    elif volume.state == LifeState.CREATING and not findings.returned:
        _complete(volume, lost, findings)
    if not findings.returned:
        _end_creation(volume, held, findings)
        _end_tasks(volume, findings)
    _end_expansion(volume, held, findings)


def _has_source(replicas: list[Replica], held: dict[int, Copy], silent: list[Replica]) -> bool:
    """Whether a replica that is not being rebuilt is on its node, or may be there."""
    return any(not r.rebuilding and (r.pk in held or r in silent) for r in replicas)


def _note_incomplete(replicas: list[Replica], held: dict[int, Copy]) -> None:
    """Mark incomplete replicas Missing. After the restored state, hosts continued with the other
    replicas.
    """
    late = [r.pk for r in replicas if not r.rebuilding and not held[r.pk].is_complete]
    rows = Replica.objects.filter(pk__in=late, replica_state=ReplicaState.AVAILABLE)
    replica_state_set(rows, ReplicaState.MISSING)


def _adopt(
    volume: Volume,
    lost: list[Replica],
    replicas: list[Replica],
    held: dict[int, Copy],
    findings: Findings,
) -> None:
    """Replace lost replicas by the replicas that the volume was moved to after the restored
    state.
    """
    filled = [r for r in replicas if r.rebuilding and r.pk in held and held[r.pk].is_complete]
    orphans = [] if filled else findings.orphans_of(volume)[: volume.num_replicas]
    gone = [r for r in lost if not r.rebuilding]
    if not (filled or orphans) or any(r.snapshots.exists() for r in gone):
        return
    for replica in gone:
        replica_delete_row(replica)
    rows = Replica.objects.filter(pk__in=[r.pk for r in filled])
    rows.update(rebuilding=False, created_by_task="", state=LifeState.READY, deadline_at=None)
    replica_state_set(rows, ReplicaState.UNKNOWN)
    for copy in orphans:
        replica_row(volume, copy)
        findings.report.append(
            f"volume {volume.uuid} was moved: its replica on {copy.backend_id} is adopted"
        )


def _complete(volume: Volume, lost: list[Replica], findings: Findings) -> None:
    """Replace replicas whose nodes failed during the create by replicas that were created after the
    restored state.
    """
    mark_replicas_deleting(
        Replica.objects.filter(pk__in=[r.pk for r in lost]), deadline_at=clock.now()
    )
    missing = volume.num_replicas - volume.replicas.filter(LIVE).count()
    for copy in findings.orphans_of(volume)[: max(missing, 0)]:
        replica_row(volume, copy)


def _end_creation(volume: Volume, held: dict[int, Copy], findings: Findings) -> None:
    """Set replicas READY if their node has them. If a node does not answer, it may have its
    replica. That replica becomes READY and Missing.

    If no replica of a volume is found, the volume stays CREATING, and the collector aborts it.
    """
    creating = volume.replicas.filter(state=LifeState.CREATING)
    unknown = creating.exclude(backend__in=list(findings.nodes))
    replica_state_set(unknown, ReplicaState.MISSING)
    made: QuerySet[Replica] = creating.filter(pk__in=held) | unknown
    made.update(state=LifeState.READY, deadline_at=None)
    ready = volume.replicas.filter(state=LifeState.READY)
    if volume.state == LifeState.CREATING and ready.exists():
        Volume.objects.filter(pk=volume.pk).update(state=LifeState.READY, deadline_at=None)
        findings.report.append(f"volume {volume.uuid} was being created: its nodes hold it")


def _end_tasks(volume: Volume, findings: Findings) -> None:
    """Abort the volume's tasks, because their effects after the restored state are not known.

    Replicas that took over stay.
    """
    others = volume.replicas.filter(LIVE, created_by_task="", rebuilding=False)
    if not others.exists():
        volume.replicas.filter(rebuilding=False).update(created_by_task="")
    tasks_abort(volume_id=volume.uuid, reason="the database was restored to an older state")


def _end_expansion(volume: Volume, held: dict[int, Copy], findings: Findings) -> None:
    """Set the volume to its size on the nodes. Smaller replicas are expanded when they are
    readopted.
    """
    rows = volume.replicas.select_related("volume").filter(state=LifeState.READY, rebuilding=False)
    replicas = [r for r in rows if r.pk in held]
    adopted = rows.filter(backend=None).exclude(pk__in=held)
    sizes = [held[r.pk].found.capacity for r in replicas]
    sizes += [
        copy.found.capacity
        for copy in findings.copies()
        if adopted.filter(uuid=copy.found.uuid, pk=copy.found.generation).exists()
    ]
    largest = max(sizes, default=0)
    if largest > volume.capacity_bytes:
        volume_expand_rows(volume, replicas, largest)
        findings.report.append(f"volume {volume.uuid} was expanded to {largest} bytes")
    if volume.expanding_to_bytes is None:
        Volume.objects.filter(pk=volume.pk, state=LifeState.READY).update(deadline_at=None)
