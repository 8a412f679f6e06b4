"""What a node should hold and does not: reported, and never made anew as if it had the data."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from django.utils import timezone

from inventory.models import Backend
from provisioner.common.models import LifeState
from volumes.models import Export, Replica, ReplicaState, Snapshot
from volumes.services.node_contents import NodeContents
from volumes.services.replica_states import replica_state_set

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


def losses_note(backend: Backend, contents: NodeContents, before: ReadyRows) -> list[int]:
    """Write down what of the READY rows ``before`` the node was read, it does not hold.

    A lost replica is Missing; a snapshot is only logged. Exports begin again: their keys.
    """
    _note_replicas(backend, {(v.uuid, v.generation) for v in contents.volumes}, before)
    there = {(s.uuid, s.generation) for s in contents.snapshots}
    rows = Snapshot.objects.filter(replica__backend=backend, state=LifeState.READY)
    for uuid, key in rows.values_list("uuid", "pk"):
        if key in before.snapshots and (uuid, key) not in there:
            log.error("node lost a snapshot", extra={"backend": backend.pk, "snapshot": uuid})
    return _note_exports(backend, contents, before)


def _note_replicas(backend: Backend, there: set[tuple[str, int]], before: ReadyRows) -> None:
    rows = Replica.objects.filter(backend=backend, state=LifeState.READY)
    for replica in rows.select_related("volume"):
        if replica.pk not in before.replicas:
            continue
        row = rows.filter(pk=replica.pk)
        if (replica.uuid, replica.pk) not in there:
            held = row.exclude(replica_state__in=[ReplicaState.MISSING, ReplicaState.TERMINATING])
            if replica_state_set(held, ReplicaState.MISSING):
                what = {"backend": backend.pk, "replica": replica.uuid, "volume": replica.volume_id}
                log.error("node lost a replica", extra=what)
        elif replica.replica_state == ReplicaState.MISSING and replica.volume.num_replicas == 1:
            replica_state_set(row.filter(replica_state=ReplicaState.MISSING), ReplicaState.UNKNOWN)


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
        rows.filter(pk__in=lost).update(state=LifeState.CREATING, deadline_at=timezone.now())
    return lost
