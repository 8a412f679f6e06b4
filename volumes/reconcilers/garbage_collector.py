"""The collector: finishes or rolls back overdue rows, and makes the nodes agree with the rows.

Several workers may run each step at the same time. One of them claims each overdue row.
"""

import logging
from collections.abc import Callable, Iterable

from django.db import transaction
from django.db.models import Q

from provisioner.common import clock
from provisioner.common.models import LifeState
from provisioner.common.writes import writes_barred
from volumes.models import Export, Publication, Replica, ReplicaState, Snapshot, Volume
from volumes.services.deadlines import overdue_take
from volumes.services.publication.exports import (
    delete_exports_on_nodes,
    exports_make,
    mark_publications_deleting,
    mark_replicas_deleting,
)
from volumes.services.publication.namespace_ids import namespace_ids_delete_unused
from volumes.services.rows import process_batch, process_each
from volumes.services.snapshot.create import snapshot_abort
from volumes.services.volume.create import volume_abort
from volumes.services.volume.delete import (
    delete_replicas_on_nodes,
    delete_snapshots_on_nodes,
    volume_finish_removal,
)
from volumes.services.volume.expand import expansions_finish

log = logging.getLogger(__name__)


def collect() -> None:
    """Handle every row whose deadline has passed.

    A failure in one step, or with one row, does not stop the others. While writes are barred, the
    collector does nothing.
    """
    for step in STEPS:
        if writes_barred():
            return
        try:
            step()
        except Exception:
            log.exception("collector step failed", extra={"step": step.__name__})


def abort_unfinished_volumes() -> None:
    """Abort volumes whose creating process died."""
    rows = overdue_take(Volume.objects.filter(state=LifeState.CREATING))
    process_each(rows, volume_abort)


def abort_unfinished_replicas() -> None:
    """Mark replicas as deleting whose creating process died."""
    rows = Replica.objects.filter(state=LifeState.CREATING, volume__state=LifeState.READY)

    def abort(replica: Replica) -> None:
        with transaction.atomic(durable=True):
            list(Volume.objects.select_for_update().filter(pk=replica.volume_id))
            still = Replica.objects.filter(pk=replica.pk, state=LifeState.CREATING)
            mark_replicas_deleting(still, deadline_at=clock.now())

    process_each(overdue_take(rows), abort)


def abort_unfinished_snapshots() -> None:
    """Abort snapshots whose creating process died."""
    rows = overdue_take(Snapshot.objects.filter(state=LifeState.CREATING))
    process_each(rows, snapshot_abort)


def abort_unfinished_publications() -> None:
    """Delete publications whose process died, or whose exports no node confirmed in time."""

    def abort(publication: Publication) -> None:
        with transaction.atomic(durable=True):
            list(Volume.objects.select_for_update().filter(pk=publication.volume_id))
            mark_publications_deleting(
                Publication.objects.filter(pk=publication.pk, state=LifeState.CREATING),
                deadline_at=clock.now(),
                reason="no node exported it in time",
            )

    process_each(overdue_take(Publication.objects.filter(state=LifeState.CREATING)), abort)


def finish_expansions() -> None:
    """Complete claimed expansions on the nodes. An expansion needs all nodes with a replica that is
    not Missing.
    """
    awaited = Replica.objects.filter(state=LifeState.READY, backend__isnull=False)
    awaited = awaited.exclude(_up("backend")).exclude(replica_state=ReplicaState.MISSING)
    expanding = Volume.objects.filter(state=LifeState.READY, expanding_to_bytes__isnull=False)
    rows = overdue_take(expanding.exclude(replicas__in=awaited))

    def finish(volumes: list[Volume], until: float) -> None:
        for key, why in expansions_finish(volumes, until=until).items():
            log.warning("an expansion is not finished", extra={"volume": key, "why": why})

    process_batch(rows, finish)


def delete_exports() -> None:
    """Remove DELETING exports from nodes that are up.

    This step runs before ``finish_exports``, because exports for a host's new NQN wait until no
    node admits the former NQN.
    """
    rows = Export.objects.filter(_up("replica__backend"), state=LifeState.DELETING)

    def remove(exports: list[Export], until: float) -> None:
        delete_exports_on_nodes(Export.objects.filter(pk__in=_keys(exports)), until=until)

    process_batch(overdue_take(rows), remove)


def finish_exports() -> None:
    """Create the remaining exports of published volumes, and of copies, on nodes that are up."""
    wanted = Q(publication__state=LifeState.READY) | Q(for_copy=True)
    rows = Export.objects.filter(wanted, _up("replica__backend"), state=LifeState.CREATING)

    def finish(exports: list[Export], until: float) -> None:
        exports_make(Export.objects.filter(pk__in=_keys(exports)), until=until)

    process_batch(overdue_take(rows), finish)


def delete_replicas() -> None:
    """Remove DELETING replicas whose node is up, or was removed from the pool by force."""
    rows = Replica.objects.filter(_up("backend") | Q(backend=None), state=LifeState.DELETING)

    def remove(replicas: list[Replica], until: float) -> None:
        delete_replicas_on_nodes(replicas, until=until)

    process_batch(overdue_take(rows), remove)


def delete_snapshots() -> None:
    """Remove DELETING snapshots whose node is up, or was removed from the pool by force."""
    removable = _up("replica__backend") | Q(replica__backend=None)
    rows = Snapshot.objects.filter(removable, state=LifeState.DELETING)

    def remove(snapshots: list[Snapshot], until: float) -> None:
        delete_snapshots_on_nodes(snapshots, until=until)

    process_batch(overdue_take(rows), remove)


def delete_volumes() -> None:
    """Delete the rows of DELETING volumes that have no replica left on a node."""
    waiting = Q(replicas__backend__available_until__lt=clock.now())
    rows = Volume.objects.filter(state=LifeState.DELETING).exclude(waiting)
    process_each(overdue_take(rows), volume_finish_removal)


def delete_namespace_ids() -> None:
    """Delete namespace ids that no export has used for a long time."""
    namespace_ids_delete_unused()


def _up(backend: str) -> Q:
    """A condition for rows whose node is Available. Rows of other nodes are not taken: they would
    precede newer rows, and calls to their nodes would time out.
    """
    return Q(**{f"{backend}__available_until__gte": clock.now()})


def _keys(rows: Iterable[Export]) -> list[int]:
    return [row.pk for row in rows]


STEPS: tuple[Callable[[], None], ...] = (
    abort_unfinished_volumes,
    abort_unfinished_replicas,
    abort_unfinished_snapshots,
    abort_unfinished_publications,
    finish_expansions,
    delete_exports,
    finish_exports,
    delete_replicas,
    delete_snapshots,
    delete_volumes,
    delete_namespace_ids,
)
