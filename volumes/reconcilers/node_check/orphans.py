"""Orphans of a node are recorded. ``orphan_removal`` removes them after a grace period.

An orphan is kept until an operator decides in three cases: another pool created it, it has no owner
record, or it was created before the recovery of an older database ended, because an operator may
have adopted it after the restored state. A failover without a lost commit keeps only orphans that
were recorded by then, or created shortly before it.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from django.db import transaction
from django.db.models import Q, QuerySet

from events.kinds import Kind
from events.recording import record, recorded_together
from inventory.models import Backend, Recovery
from inventory.nodes import wire
from provisioner.common import clock
from volumes.models import Export, Orphan, OrphanKind, Replica, Snapshot
from volumes.services.node.contents import NodeContents
from volumes.services.ownership import pool_uuid

log = logging.getLogger(__name__)

Key = tuple[str, str, str, int]  # kind, uuid, target NQN and generation
# columns whose values may change while the orphan exists
TOLD = ("size_bytes", "pool", "tenant_id", "volume_uuid", "alias", "kept")


@dataclass(frozen=True)
class FormerRows:
    """What had a row on some nodes before the nodes were read. If such a row is gone afterwards,
    its object was removed meanwhile.
    """

    replicas: frozenset[int] = frozenset()
    snapshots: frozenset[int] = frozenset()
    exports: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, backends: Iterable[Backend]) -> Self:
        """Read the keys for these backends."""
        exports = Export.objects.filter(replica__backend__in=backends)
        snapshots = Snapshot.objects.filter(replica__backend__in=backends)
        return cls(
            frozenset(Replica.objects.filter(backend__in=backends).values_list("pk", flat=True)),
            frozenset(snapshots.values_list("pk", flat=True)),
            frozenset(exports.values_list("target_nqn", "replica__uuid")),
        )

    def had(self, orphan: Orphan) -> bool:
        """Whether the object had a row."""
        if orphan.kind == OrphanKind.NAMESPACE:
            return (orphan.target_nqn, orphan.uuid) in self.exports
        keys = self.snapshots if orphan.kind == OrphanKind.SNAPSHOT else self.replicas
        return orphan.generation in keys


NO_ROWS = FormerRows()


def orphans_store(
    backend: Backend, contents: NodeContents, *, former: FormerRows = NO_ROWS
) -> None:
    """Store the orphans that the node held when it was read, except objects that had a row in
    ``former``. Delete the rows of orphans that no longer exist. An orphan that is kept stays kept.
    """
    unknown = _unknown_objects(backend.pk, contents)
    seen = {_key(orphan): orphan for orphan in unknown if not former.had(orphan)}
    noted = {_key(orphan): orphan for orphan in Orphan.objects.filter(backend=backend)}
    for key in noted.keys() & seen.keys():
        seen[key].kept |= noted[key].kept
    gone = [orphan.pk for key, orphan in noted.items() if key not in seen]
    Orphan.objects.filter(pk__in=gone).delete()
    same = [o.pk for key, o in noted.items() if key in seen and _details(o) == _details(seen[key])]
    Orphan.objects.filter(pk__in=same).update(last_seen_at=clock.now())
    for key, orphan in noted.items():
        if key in seen and orphan.pk not in same:
            row = Orphan.objects.filter(pk=orphan.pk)
            row.update(last_seen_at=clock.now(), **_details(seen[key]))
    new = [orphan for key, orphan in seen.items() if key not in noted]
    with transaction.atomic(durable=True), recorded_together():
        Orphan.objects.bulk_create(new, ignore_conflicts=True)
        for orphan in new:
            orphan_record(Kind.ORPHAN_FOUND, orphan)
    for orphan in new:
        log.warning("a node holds an orphan", extra={"orphan": str(orphan)})


def orphans_keep() -> None:
    """Keep all recorded volumes and snapshots until an operator decides, because an operator may
    have adopted one in a lost commit. Runs in the caller's transaction.
    """
    Orphan.objects.exclude(kind=OrphanKind.NAMESPACE).update(kept=True)


def orphan_record(kind: Kind, orphan: Orphan) -> None:
    """Record an event about an orphan. Only callers without a tenant see the event, because the
    owner is not certain.
    """
    record(
        kind,
        backend=orphan.backend_id,
        snapshot=orphan.uuid if orphan.kind == OrphanKind.SNAPSHOT else None,
        replica=orphan.uuid if orphan.kind != OrphanKind.SNAPSHOT else None,
        type=str(orphan.kind),
        name=orphan.uuid,
        sizeBytes=orphan.size_bytes,
        pool=orphan.pool,
        owner=orphan.tenant_id,
        alias=orphan.alias,
    )


def new_orphans(backend_id: str, contents: NodeContents) -> list[Orphan]:
    """Return the orphans that the node held when it was read and that are not stored yet."""
    noted = {_key(orphan) for orphan in Orphan.objects.filter(backend=backend_id)}
    return [one for one in _unknown_objects(backend_id, contents) if _key(one) not in noted]


def _unknown_objects(backend_id: str, contents: NodeContents) -> Iterator[Orphan]:
    """Yield the objects on the node that have no row of the same generation on this node, or
    without a node. A row has no node if its node was removed by force.
    """
    replicas = Replica.objects.filter(Q(backend=backend_id) | Q(backend=None))
    found = list(_unknown(OrphanKind.VOLUME, backend_id, contents.volumes, replicas))
    snapshots = Snapshot.objects.filter(Q(replica__backend=backend_id) | Q(replica__backend=None))
    found += _unknown(OrphanKind.SNAPSHOT, backend_id, contents.snapshots, snapshots)
    strange = {orphan.uuid for orphan in found if orphan.kind == OrphanKind.VOLUME}
    found += _namespaces(backend_id, contents)
    mine, restored = pool_uuid(), list(Recovery.objects.all())
    for orphan in found:
        is_in_doubt = any(
            (r.keeps_older or r.after_generation < orphan.generation)
            and orphan.generation <= r.until_generation
            for r in restored
        )
        is_data = orphan.kind != OrphanKind.NAMESPACE or orphan.uuid in strange
        orphan.kept = orphan.pool != mine or (is_in_doubt and is_data)
        yield orphan


def _namespaces(backend_id: str, contents: NodeContents) -> Iterator[Orphan]:
    """Yield the namespaces on the node that have no export row, with the owner of their volume."""
    exports = Export.objects.filter(replica__backend=backend_id)
    known = set(exports.values_list("target_nqn", "replica__uuid"))
    owners = {volume.uuid: volume.owner for volume in contents.volumes}
    for target in contents.targets:
        for one in target.namespaces:
            if (target.nqn, one.volume_uuid) not in known:
                yield Orphan(
                    backend_id=backend_id,
                    kind=OrphanKind.NAMESPACE,
                    uuid=one.volume_uuid,
                    target_nqn=target.nqn,
                    generation=one.generation,
                    **_owned(owners.get(one.volume_uuid)),
                )


def _unknown(
    kind: OrphanKind,
    backend_id: str,
    found: Sequence[wire.Volume | wire.Snapshot],
    rows: QuerySet[Replica] | QuerySet[Snapshot],
) -> Iterator[Orphan]:
    """Yield the objects in ``found`` that have no row in ``rows``."""
    known = set(rows.filter(uuid__in=[one.uuid for one in found]).values_list("uuid", "pk"))
    for one in found:
        if (one.uuid, one.generation) not in known:
            yield Orphan(
                backend_id=backend_id,
                kind=kind,
                uuid=one.uuid,
                generation=one.generation,
                size_bytes=sum(piece.allocated for piece in one.pieces),
                **_owned(one.owner),
            )


def _owned(owner: wire.Owner | None) -> dict[str, str]:
    if owner is None:
        return {}
    return {
        "pool": owner.pool,
        "tenant_id": owner.tenant,
        "volume_uuid": owner.volume,
        "alias": owner.alias,
    }


def _details(orphan: Orphan) -> dict[str, object]:
    return {name: getattr(orphan, name) for name in TOLD}


def _key(orphan: Orphan) -> Key:
    return (orphan.kind, orphan.uuid, orphan.target_nqn, orphan.generation)
