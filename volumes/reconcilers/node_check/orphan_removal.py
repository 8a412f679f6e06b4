"""Orphans are removed from their node after a grace period."""

import datetime as dt
import logging
from collections.abc import Callable, Iterable
from functools import partial

from django.conf import settings
from django.db import transaction

from events.kinds import Kind
from inventory.models import Backend
from inventory.nodes.client import NodeClient, call_all
from inventory.services.node.call_time import call_deadline, seconds_left
from inventory.services.node.clients import node_client
from provisioner.common import clock
from provisioner.common.writes import require_writes_now
from volumes.models import Export, Orphan, OrphanKind, Replica, Snapshot, Volume
from volumes.reconcilers.node_check.orphans import orphan_record

log = logging.getLogger(__name__)

REMOVE_AT_MOST = 100


def orphans_remove(backend: Backend) -> None:
    """Remove orphans from the node that are older than ``orphan_grace_hours`` and not kept.

    An orphan is removed only if no row has its uuid, whatever the state and node of that row. Up to
    REMOVE_AT_MOST orphans of each kind are removed, in random order, so that those which the node
    refuses do not keep others from being tried. The node removes only the generation of the
    orphan, so a later object of the same uuid stays.

    :raises WritesBarred: writes were barred meanwhile.
    """
    grace = dt.timedelta(hours=settings.ENVIRONMENT.orphan_grace_hours)
    old = Orphan.objects.filter(backend=backend, kept=False, first_seen_at__lte=clock.now() - grace)
    node, until = node_client(backend), call_deadline()
    for kind in (OrphanKind.NAMESPACE, OrphanKind.SNAPSHOT, OrphanKind.VOLUME):
        removable = _without_row(kind, old.filter(kind=kind).order_by("?"))
        orphans = {orphan.pk: orphan for orphan in removable[:REMOVE_AT_MOST]}
        calls = {pk: orphan_removal(node, o, seconds_left(until)) for pk, o in orphans.items()}
        if calls:
            require_writes_now()
        outcomes = call_all(
            calls, timeout_seconds=seconds_left(until), nodes=dict.fromkeys(calls, backend.pk)
        )
        for pk, outcome in outcomes.items():
            text = {"orphan": str(orphans[pk]), "reason": str(outcome or "")}
            log.warning("orphan not removed" if outcome else "orphan removed", extra=text)
            if outcome is None:
                orphan_delete_row(orphans[pk])


def orphan_delete_row(orphan: Orphan) -> None:
    """Delete the row of an orphan after its node removed the object."""
    with transaction.atomic(durable=True):
        if Orphan.objects.filter(pk=orphan.pk).delete()[0]:
            orphan_record(Kind.ORPHAN_REMOVED, orphan)


def orphan_removal(node: NodeClient, orphan: Orphan, timeout: float) -> Callable[[], None]:
    """Return a function that removes the generation of the orphan from its node."""
    uuid, generation = orphan.uuid, orphan.generation
    match orphan.kind:
        case OrphanKind.NAMESPACE:
            nqn = orphan.target_nqn
            return partial(node.remove_namespace, nqn, uuid, generation, timeout=timeout)
        case OrphanKind.SNAPSHOT:
            return partial(node.remove_snapshot, uuid, generation, timeout=timeout)
        case _:
            return partial(node.remove_volume, uuid, generation, timeout=timeout)


def _without_row(kind: OrphanKind, orphans: Iterable[Orphan]) -> list[Orphan]:
    """Return the orphans whose uuid is in no row, whatever the state, node or generation of the
    row.
    """
    found = list(orphans)
    uuids = [orphan.uuid for orphan in found]
    if kind == OrphanKind.NAMESPACE:
        exports = Export.objects.filter(replica__uuid__in=uuids)
        names = set(exports.values_list("target_nqn", "replica__uuid"))
        return [orphan for orphan in found if (orphan.target_nqn, orphan.uuid) not in names]
    known: set[str] = set()
    for rows in (Replica.objects.all(), Volume.objects.all(), Snapshot.objects.all()):
        known |= set(rows.filter(uuid__in=uuids).values_list("uuid", flat=True))
    return [orphan for orphan in found if orphan.uuid not in known]
