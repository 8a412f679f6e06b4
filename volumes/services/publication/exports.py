"""Create and remove exports on nodes, and update their rows when the nodes confirm."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from events.kinds import Kind
from events.recording import record, recorded_together
from inventory.nodes.client import NodeRefused
from inventory.nodes.wire import RefusalCode
from provisioner.common import clock
from provisioner.common.models import LifeState
from provisioner.common.queue import enqueue_on_commit
from volumes.models import Export, Protocol, Publication, Replica, Volume, target_nqn
from volumes.selectors import LIVE, exports_with_nodes
from volumes.services.deadlines import unfinished_deadline
from volumes.services.node.missing import check_after_not_found
from volumes.services.node_calls import (
    NodeError,
    exports_ensure,
    exports_remove,
    failures_text,
)
from volumes.services.publication.namespace_ids import (
    namespace_id_bar,
    namespace_ids_take,
    namespace_ids_touch,
)
from volumes.services.replica.state import replica_record


@dataclass(frozen=True)
class ExportWork:
    """The result of one round of node calls.

    ``done``: the number of confirmed exports. ``new``: the number of exports that were created now,
    because they were new or their node had lost them. ``failed``: the exports that their node did
    not confirm. ``text``: how they failed.
    """

    done: int
    new: int
    failed: tuple[Export, ...]
    text: str


def exports_make(rows: QuerySet[Export], *, until: float) -> ExportWork:
    """Create exports on all nodes in parallel. Exports that their node confirms become READY.

    A replica that its node does not hold becomes Missing. After a host changed its NQN, its exports
    wait until no node admits the former NQN any more.
    """
    exports = {e.pk: e for e in exports_with_nodes(_admissible(rows))}
    outcomes = exports_ensure(exports.values(), until=until)
    check_after_not_found({key: e.replica for key, e in exports.items()}, outcomes, until=until)
    done = [key for key, outcome in outcomes.items() if isinstance(outcome, bool)]
    moved = Export.objects.filter(pk__in=done, state=LifeState.CREATING).update(
        state=LifeState.READY, deadline_at=None
    )
    repaired = sum(1 for outcome in outcomes.values() if outcome is True)
    for key, outcome in outcomes.items():
        if isinstance(outcome, NodeRefused) and outcome.code is RefusalCode.ID_IN_USE:
            _take_another_id(exports[key])
    return _work(exports, outcomes, new=max(moved, repaired))


def _take_another_id(export: Export) -> None:
    """Renew an export with another namespace id.

    The node uses the present id for another replica. So the host also knows the id as that of the
    other replica, whatever the database says.
    """
    with transaction.atomic(durable=True):
        list(Volume.objects.select_for_update().filter(replicas=export.replica_id))
        namespace_id_bar(export)
        exports_renew(Export.objects.filter(LIVE, pk=export.pk, publication__isnull=False))


def _admissible(rows: QuerySet[Export]) -> QuerySet[Export]:
    former = Export.objects.filter(target_nqn=OuterRef("target_nqn"))
    return rows.filter(~Exists(former.exclude(host_nqn=OuterRef("host_nqn"))))


def record_desired_exports(
    publication: Publication, *, deadline_at: dt.datetime | None = None
) -> None:
    """Record that each replica of a published volume must be exported, except one that is
    ``rebuilding``.

    Runs inside the caller's transaction, which holds the lock of the volume. ``publication``: with
    its volume and host loaded.

    :raises TargetFull: the target of the host has the maximum number of namespaces.
    """
    if publication.volume.protocol == Protocol.LOCAL:
        return
    replicas = Replica.objects.filter(
        volume=publication.volume_id, state=LifeState.READY, rebuilding=False
    ).exclude(pk__in=publication.exports.values("replica_id"))
    keys = list(replicas.values_list("pk", flat=True))
    ids = namespace_ids_take(publication.host, keys) if keys else {}
    Export.objects.bulk_create(
        Export(
            publication=publication,
            replica_id=key,
            target_nqn=target_nqn(publication.host_id),
            nsid=ids[key],
            host_nqn=publication.host.nqn,
            deadline_at=deadline_at or unfinished_deadline(),
        )
        for key in keys
    )


def record_desired_exports_for_all_hosts(volume: Volume) -> list[Publication]:
    """Call ``record_desired_exports`` for every host that the volume is published to.

    Returns the publications. They are handled in the order of host ids, because namespace ids are
    claimed in that order, and a common order prevents deadlocks.
    """
    publications = list(volume.publications.select_related("host").order_by("host_id"))
    for publication in publications:
        record_desired_exports(publication)
    return publications


def delete_exports_on_nodes(rows: QuerySet[Export], *, until: float) -> ExportWork:
    """Remove DELETING exports from their nodes, and delete the rows of confirmed removals."""
    exports = {e.pk: e for e in exports_with_nodes(rows)}
    if not exports:
        return ExportWork(0, 0, (), "")
    outcomes = exports_remove(exports.values(), until=until)
    done = [key for key, outcome in outcomes.items() if isinstance(outcome, bool)]
    namespace_ids_touch(exports[key] for key in done)
    Export.objects.filter(pk__in=done, state=LifeState.DELETING).delete()
    return _work(exports, outcomes, new=0)


def mark_publications_deleting(
    rows: QuerySet[Publication], *, deadline_at: dt.datetime | None = None, reason: str = ""
) -> list[int]:
    """Delete publications and mark their exports as deleting, inside the caller's transaction.

    ``deadline_at``: the time after which the collector removes the exports. ``reason``: for the
    event, if no client requested this. Returns the keys of the exports.
    """
    # locked, because another attempt of the same request may set them READY
    locked = list(rows.select_for_update(of=("self",)).select_related("volume"))
    exports = Export.objects.filter(publication__in=locked)
    keys = mark_exports_deleting(exports, deadline_at=deadline_at or unfinished_deadline())
    with recorded_together():
        for publication in locked:
            publication_record(Kind.VOLUME_UNPUBLISHED, publication, reason)
    Publication.objects.filter(pk__in=[one.pk for one in locked]).delete()
    return keys


def publication_record(kind: Kind, publication: Publication, reason: str = "") -> None:
    """Record an event about a publication."""
    volume = publication.volume
    about = {"volume": volume.uuid, "host": publication.host_id, "alias": volume.alias}
    record(kind, tenant=volume.tenant_id, reason=reason, **about)


def mark_exports_deleting(rows: QuerySet[Export], *, deadline_at: dt.datetime) -> list[int]:
    """Mark exports as deleting, inside the caller's transaction. Returns their keys."""
    keys = list(rows.values_list("pk", flat=True))
    Export.objects.filter(pk__in=keys).update(
        publication=None, state=LifeState.DELETING, deadline_at=deadline_at
    )
    return keys


def exports_renew(rows: QuerySet[Export]) -> None:
    """Replace exports by new exports of a later generation, with the current NQN of the host and
    the current namespace id of the replica.

    Runs inside the caller's transaction, which holds the locks of the volumes. It only writes rows;
    the collector calls the nodes.
    """
    publications = Publication.objects.filter(
        pk__in=list(rows.values_list("publication", flat=True))
    )
    mark_exports_deleting(rows, deadline_at=clock.now())
    for publication in publications.select_related("volume", "host"):
        record_desired_exports(publication, deadline_at=clock.now())
    enqueue_on_commit("volumes.jobs.collect")


def mark_replicas_deleting(rows: QuerySet[Replica], *, deadline_at: dt.datetime) -> None:
    """Mark replicas and their exports as deleting, inside the caller's transaction.

    The collector removes them after ``deadline_at``.
    """
    removed = list(rows.select_related("volume"))
    keys = [replica.pk for replica in removed]
    exports = Export.objects.filter(LIVE, replica__in=keys)
    mark_exports_deleting(exports, deadline_at=deadline_at)
    Replica.objects.filter(pk__in=keys).update(state=LifeState.DELETING, deadline_at=deadline_at)
    with recorded_together():
        for replica in removed:
            replica_record(Kind.REPLICA_REMOVED, replica)


def _work(
    exports: Mapping[int, Export], outcomes: Mapping[int, bool | NodeError], *, new: int
) -> ExportWork:
    replicas: dict[int, Replica] = {key: export.replica for key, export in exports.items()}
    failed = tuple(e for key, e in exports.items() if not isinstance(outcomes[key], bool))
    return ExportWork(len(exports) - len(failed), new, failed, failures_text(replicas, outcomes))
