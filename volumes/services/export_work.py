"""Exports on their nodes: made, or removed, and the rows follow."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import QuerySet

from provisioner.common.models import LifeState
from volumes.models import Export, Publication, Replica, target_nqn
from volumes.selectors import LIVE, exports_with_nodes
from volumes.services.deadlines import unfinished_deadline
from volumes.services.losses import losses_follow
from volumes.services.node_work import (
    NodeError,
    exports_ensure,
    exports_remove,
    failures_text,
)


@dataclass(frozen=True)
class ExportWork:
    """How it went. ``new``: exported only now, or found lost on the node; ``failed``: exports
    whose node did not confirm.
    """

    done: int
    new: int
    failed: tuple[Export, ...]
    text: str


def exports_make(rows: QuerySet[Export], *, until: float) -> ExportWork:
    """Export on all nodes in parallel; those that confirm become READY. A replica that its node
    does not have is Missing.
    """
    exports = {e.pk: e for e in exports_with_nodes(rows)}
    outcomes = exports_ensure(exports.values(), until=until)
    losses_follow({key: e.replica for key, e in exports.items()}, outcomes, until=until)
    done = [key for key, outcome in outcomes.items() if isinstance(outcome, bool)]
    moved = Export.objects.filter(pk__in=done, state=LifeState.CREATING).update(
        state=LifeState.READY, deadline_at=None
    )
    repaired = sum(1 for outcome in outcomes.values() if outcome is True)
    return _work(exports, outcomes, new=max(moved, repaired))


def exports_want(publication: Publication) -> None:
    """Write that each replica of a published volume must be exported, but for one that is being
    filled, inside the caller's transaction that holds the volume.
    """
    if publication.nsid is None:
        return
    replicas = Replica.objects.filter(
        volume=publication.volume_id, state=LifeState.READY, filling=False
    )
    Export.objects.bulk_create(
        Export(
            publication=publication,
            replica=replica,
            target_nqn=target_nqn(publication.host_id),
            nsid=publication.nsid,
            host_nqn=publication.host.nqn,
            deadline_at=unfinished_deadline(),
        )
        for replica in replicas.exclude(pk__in=publication.exports.values("replica_id"))
    )


def exports_drop(rows: QuerySet[Export], *, until: float) -> ExportWork:
    """Remove exports that are being deleted from their nodes; the rows of those confirmed go."""
    exports = {e.pk: e for e in exports_with_nodes(rows)}
    outcomes = exports_remove(exports.values(), until=until)
    done = [key for key, outcome in outcomes.items() if isinstance(outcome, bool)]
    Export.objects.filter(pk__in=done, state=LifeState.DELETING).delete()
    return _work(exports, outcomes, new=0)


def publications_withdraw(
    rows: QuerySet[Publication], *, deadline_at: dt.datetime | None = None
) -> list[int]:
    """Drop publications and write the intent to remove their exports, inside the caller's
    transaction.

    ``deadline_at``: from then on the collector removes them. Returns the keys of those exports.
    """
    exports = Export.objects.filter(publication__in=rows)
    keys = exports_withdraw(exports, deadline_at=deadline_at or unfinished_deadline())
    rows.delete()
    return keys


def exports_withdraw(rows: QuerySet[Export], *, deadline_at: dt.datetime) -> list[int]:
    """Write the intent to remove exports, inside the caller's transaction. Returns their keys."""
    keys = list(rows.values_list("pk", flat=True))
    Export.objects.filter(pk__in=keys).update(
        publication=None, state=LifeState.DELETING, deadline_at=deadline_at
    )
    return keys


def replicas_withdraw(rows: QuerySet[Replica], *, deadline_at: dt.datetime) -> None:
    """Write the intent to remove replicas, with their exports, inside the caller's transaction;
    the collector does it from ``deadline_at`` on.
    """
    keys = list(rows.values_list("pk", flat=True))
    exports = Export.objects.filter(LIVE, replica__in=keys)
    exports_withdraw(exports, deadline_at=deadline_at)
    Replica.objects.filter(pk__in=keys).update(state=LifeState.DELETING, deadline_at=deadline_at)


def _work(
    exports: Mapping[int, Export], outcomes: Mapping[int, bool | NodeError], *, new: int
) -> ExportWork:
    replicas: dict[int, Replica] = {key: export.replica for key, export in exports.items()}
    failed = tuple(e for key, e in exports.items() if not isinstance(outcomes[key], bool))
    return ExportWork(len(exports) - len(failed), new, failed, failures_text(replicas, outcomes))
