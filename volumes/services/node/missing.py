"""Mark replicas Missing that their node has lost. Lost data is never replaced by an empty replica.

Only this module sets a replica Missing because its node lost it: in a node check, and as soon as
the node answers any call with NOT_FOUND.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from django.db import transaction
from django.db.models import F, QuerySet, Sum

from events.kinds import Kind
from events.recording import record
from events.selectors import EventFilter, event_rows
from inventory.models import Backend
from inventory.services.node.call_time import seconds_left
from provisioner.common import clock
from provisioner.common.models import LifeState
from volumes.models import Export, Replica, ReplicaState, Snapshot, Volume
from volumes.services.node.contents import NodeContents, is_lost, replicas_find
from volumes.services.node_calls import Outcomes
from volumes.services.replica.state import replica_state_set

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReadyRows:
    """Keys of the READY rows on some nodes.

    ``replicas`` has the capacity in bytes that a node should have at least for each replica. It is
    0 during an expansion, because nodes complete that at different times.
    """

    replicas: Mapping[int, int]
    snapshots: frozenset[int]
    exports: frozenset[int]

    @classmethod
    def of(cls, backends: Iterable[Backend]) -> Self:
        """Read the keys for these backends."""
        ready = {"state": LifeState.READY}
        replicas = Replica.objects.filter(backend__in=backends, **ready)
        sizes = replicas.annotate(size=Sum("sub_volumes__capacity_bytes"))
        snapshots = Snapshot.objects.filter(replica__backend__in=backends, **ready)
        exports = Export.objects.filter(replica__backend__in=backends, **ready)
        return cls(
            {
                key: size if expanding_to is None else 0
                for key, size, expanding_to in sizes.values_list(
                    "pk", "size", "volume__expanding_to_bytes"
                )
            },
            *(frozenset(rows.values_list("pk", flat=True)) for rows in (snapshots, exports)),
        )


def replicas_verify(replicas: Iterable[Replica], *, until: float) -> Outcomes:
    """Ask nodes for replicas, and mark replicas Missing that their node does not hold.

    A node holds a replica if it has that generation with all its sub-volumes. Returns outcomes by
    replica key, for :func:`is_lost`.
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
    """Check the replicas whose node answered NOT_FOUND, and mark the lost ones Missing.

    ``replicas`` and ``outcomes`` have the same keys. ``outcomes`` may have additional ones.
    """
    if lost := [r for key, r in replicas.items() if is_lost(outcomes[key])]:
        replicas_verify(lost, until=until)


def mark_missing(backend: Backend, contents: NodeContents, before: ReadyRows) -> list[int]:
    """Compare the ``contents`` of a node with the rows that were READY ``before`` the node was
    read.

    A lost replica becomes Missing. The only replica of a volume becomes Unknown again when its node
    has it again. A lost snapshot is logged. A lost export is set back to CREATING; the keys of
    these exports are returned. If a replica missed an expansion, its volume is expanded again.
    """
    _note_replicas(backend, {(v.uuid, v.generation): v.capacity for v in contents.volumes}, before)
    there = {(s.uuid, s.generation) for s in contents.snapshots}
    rows = Snapshot.objects.filter(replica__backend=backend, state=LifeState.READY)
    for snapshot in rows.select_related("volume"):
        if snapshot.pk in before.snapshots and (snapshot.uuid, snapshot.pk) not in there:
            _note_lost(backend, snapshot)
    return _note_exports(backend, contents, before)


def _note_lost(backend: Backend, snapshot: Snapshot) -> None:
    """Log that a snapshot is lost. The first check that finds this records an event."""
    log.error("a node lost a snapshot", extra={"backend": backend.pk, "snapshot": snapshot.uuid})
    known = EventFilter(about=f"snapshot:{snapshot.uuid}", kinds=(Kind.SNAPSHOT_LOST,))
    if not event_rows(known).exists():
        record(
            Kind.SNAPSHOT_LOST,
            tenant=snapshot.tenant_id,
            snapshot=snapshot.uuid,
            volume=snapshot.volume.uuid,
            backend=backend.pk,
            alias=snapshot.alias,
        )


def _note_replicas(
    backend: Backend, there: Mapping[tuple[str, int], int], before: ReadyRows
) -> None:
    """Mark lost replicas Missing. ``there``: capacities in bytes by uuid and generation."""
    rows = Replica.objects.filter(backend=backend, state=LifeState.READY)
    small = set()
    for replica in rows.select_related("volume"):
        if replica.pk not in before.replicas:
            continue
        capacity = there.get((replica.uuid, replica.pk))
        if capacity is None:
            _mark_missing(replica)
            continue
        if capacity < before.replicas[replica.pk]:
            small.add(replica.volume_id)
        if replica.replica_state == ReplicaState.MISSING and replica.volume.num_replicas == 1:
            row = rows.filter(pk=replica.pk, replica_state=ReplicaState.MISSING)
            replica_state_set(row, ReplicaState.UNKNOWN, reason="its node holds it again")
    if small:
        _expand_again(Volume.objects.filter(pk__in=small))


def _mark_missing(replica: Replica) -> None:
    """Mark the replica Missing. A Terminating replica is not changed, because it is being removed
    anyway.
    """
    rows = Replica.objects.filter(
        pk=replica.pk, backend=replica.backend_id, state=LifeState.READY
    ).exclude(replica_state__in=[ReplicaState.MISSING, ReplicaState.TERMINATING])
    if replica_state_set(rows, ReplicaState.MISSING, reason="its node lost it"):
        about = {"backend": replica.backend_id, "replica": replica.uuid}
        log.error("a node lost a replica", extra=about | {"volume": replica.volume_id})


def _expand_again(volumes: QuerySet[Volume]) -> None:
    """Let the collector repeat the expansion of these volumes. A replica was Missing during the
    expansion, and is back with the old size.
    """
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
        with transaction.atomic(durable=True):
            rows.filter(pk__in=lost).update(state=LifeState.CREATING, deadline_at=clock.now())
            record(Kind.EXPORTS_LOST, backend=backend.pk, count=len(lost))
    return lost
