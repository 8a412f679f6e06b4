"""What a node should hold and does not: reported, and never made anew as if it had the data.

A replica that its node lost becomes Missing here alone: when the node is checked, and as soon as it
answers to any call that it does not have it.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from django.db.models import F, QuerySet, Sum

from inventory.models import Backend
from provisioner.common import clock
from provisioner.common.models import LifeState
from volumes.models import Export, Replica, ReplicaState, Snapshot, Volume
from volumes.services.node.contents import NodeContents, is_lost, replicas_find
from volumes.services.node_calls import Outcomes, seconds_left
from volumes.services.replica.state import replica_state_set

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReadyRows:
    """The keys of what is READY on some nodes."""

    replicas: frozenset[int]
    snapshots: frozenset[int]
    exports: frozenset[int]

    @classmethod
    def of(cls, backends: Iterable[Backend]) -> Self:
        ready = {"state": LifeState.READY}
        replicas = Replica.objects.filter(backend__in=backends, **ready)
        snapshots = Snapshot.objects.filter(replica__backend__in=backends, **ready)
        exports = Export.objects.filter(replica__backend__in=backends, **ready)
        return cls(
            *(
                frozenset(rows.values_list("pk", flat=True))
                for rows in (replicas, snapshots, exports)
            )
        )


def replicas_look(replicas: Iterable[Replica], *, until: float) -> Outcomes:
    """Ask their nodes for replicas: those that their node does not hold, of their generation and
    with all their pieces, are Missing from now on. Outcomes by key, as :func:`is_lost` tells them.
    """
    rows = {r.pk: r for r in replicas}
    outcomes = replicas_find(rows.values(), timeout_seconds=seconds_left(until))
    for key, outcome in outcomes.items():
        if is_lost(outcome):
            _mark_missing(rows[key])
    return outcomes


def check_after_not_found(
    replicas: Mapping[int, Replica], outcomes: Mapping[int, object], *, until: float
) -> None:
    """Some nodes may have answered that what they were asked to work on is not there: look whether
    they lost those ``replicas``. By the keys of ``outcomes``, of which there may be more.
    """
    lost = [r for key, r in replicas.items() if is_lost(outcomes[key])]
    replicas_look(lost, until=until)


def mark_missing(backend: Backend, contents: NodeContents, before: ReadyRows) -> list[int]:
    """Write down what of the READY rows ``before`` the node was read, it does not hold.

    A lost replica is Missing; a snapshot is only logged. Exports begin again: their keys. A replica
    that missed a growth is grown.
    """
    _note_replicas(backend, {(v.uuid, v.generation): v.capacity for v in contents.volumes}, before)
    there = {(s.uuid, s.generation) for s in contents.snapshots}
    rows = Snapshot.objects.filter(replica__backend=backend, state=LifeState.READY)
    for uuid, key in rows.values_list("uuid", "pk"):
        if key in before.snapshots and (uuid, key) not in there:
            log.error("node lost a snapshot", extra={"backend": backend.pk, "snapshot": uuid})
    return _note_exports(backend, contents, before)


def _note_replicas(
    backend: Backend, there: Mapping[tuple[str, int], int], before: ReadyRows
) -> None:
    """``there``: capacities by uuid and generation."""
    rows = Replica.objects.filter(backend=backend, state=LifeState.READY)
    small = set()
    sized = rows.select_related("volume").annotate(size=Sum("sub_volumes__capacity_bytes"))
    for replica in sized:
        if replica.pk not in before.replicas:
            continue
        capacity = there.get((replica.uuid, replica.pk))
        if capacity is None:
            _mark_missing(replica)
            continue
        if capacity < replica.size:
            small.add(replica.volume_id)
        if replica.replica_state == ReplicaState.MISSING and replica.volume.num_replicas == 1:
            row = rows.filter(pk=replica.pk, replica_state=ReplicaState.MISSING)
            replica_state_set(row, ReplicaState.UNKNOWN)
    if small:
        _expand_again(Volume.objects.filter(pk__in=small))


def _mark_missing(replica: Replica) -> None:
    """One that leaves is no loss."""
    rows = Replica.objects.filter(
        pk=replica.pk, backend=replica.backend_id, state=LifeState.READY
    ).exclude(replica_state__in=[ReplicaState.MISSING, ReplicaState.TERMINATING])
    if replica_state_set(rows, ReplicaState.MISSING):
        about = {"backend": replica.backend_id, "replica": replica.uuid}
        log.error("node lost a replica", extra=about | {"volume": replica.volume_id})


def _expand_again(volumes: QuerySet[Volume]) -> None:
    """A replica of each was Missing when the others grew, and is back; the collector grows it."""
    at_rest = volumes.filter(state=LifeState.READY, expanding_to_bytes__isnull=True)
    at_rest.update(expanding_to_bytes=F("capacity_bytes"), deadline_at=clock.now())


def _note_exports(backend: Backend, contents: NodeContents, before: ReadyRows) -> list[int]:
    there = {
        (target.nqn, one.volume_uuid): (one.nsid, target.host_nqn)
        for target in contents.targets
        for one in target.namespaces
    }
    rows = Export.objects.filter(replica__backend=backend, state=LifeState.READY)
    lost = [
        export.pk
        for export in rows.select_related("replica")
        if export.pk in before.exports
        and there.get((export.target_nqn, export.replica.uuid)) != (export.nsid, export.host_nqn)
    ]
    if lost:
        log.warning("node lost exports", extra={"backend": backend.pk, "exports": len(lost)})
        rows.filter(pk__in=lost).update(state=LifeState.CREATING, deadline_at=clock.now())
    return lost
