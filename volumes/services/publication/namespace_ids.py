"""Namespace ids of exports.

In the target of a host, an id belongs to one replica, over all nodes. For some time after its last
use, no other replica gets it.
"""

import datetime as dt
from collections.abc import Collection, Iterable
from functools import reduce
from operator import or_

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from inventory.models import Host
from inventory.nodes.target_ids import MAX_NAMESPACES
from provisioner.common import clock
from provisioner.common.results import ProvisionerError, ResultCode
from volumes.models import Export, NamespaceId, target_nqn

KEPT = dt.timedelta(hours=24)
"""The time after its last use in which no other replica gets an id. It must be longer than the time
for which nodes refuse another replica with the id.
"""

BATCH = 1000
"""The number of ids that one run of the collector looks at."""


class TargetFull(ProvisionerError):
    """The target of the host has the maximum number of namespaces."""

    code = ResultCode.PublishFailed


def namespace_ids_take(host: Host, replica_keys: Collection[int]) -> dict[int, int]:
    """Return the namespace ids of replicas in the host's target, by replica key.

    A replica keeps the id that it has or had. Otherwise it gets the lowest id that is not reserved
    for another replica and that the host does not use. Runs inside the caller's transaction, as its
    last claim, because it waits while another transaction inserts the same id.

    :raises TargetFull: the target has the maximum number of namespaces.
    """
    rows = NamespaceId.objects.filter(target_nqn=target_nqn(host.pk))
    own = rows.filter(replica_key__in=replica_keys)
    kept = own.update(last_used_at=clock.now())
    while True:
        found = dict(own.values_list("replica_key", "nsid")) if kept else {}
        missing = [key for key in replica_keys if key not in found]
        if not missing:
            return {key: nsid for key, nsid in found.items() if key is not None}
        free = _free(rows, host, len(missing))
        NamespaceId.objects.bulk_create(
            [
                NamespaceId(target_nqn=target_nqn(host.pk), nsid=nsid, replica_key=key)
                for key, nsid in zip(missing, free, strict=False)
            ],
            ignore_conflicts=True,
        )
        kept = len(replica_keys)


def _free(rows: QuerySet[NamespaceId], host: Host, number: int) -> list[int]:
    taken = {*rows.values_list("nsid", flat=True), *host.used_namespace_ids}
    free = [nsid for nsid in range(1, MAX_NAMESPACES + 1) if nsid not in taken][:number]
    return free or [_longest_unused(rows, host)]


def _longest_unused(rows: QuerySet[NamespaceId], host: Host) -> int:
    """Release and return the id that was unused for the longest time."""
    unused = rows.filter(~Exists(_exports())).exclude(nsid__in=host.used_namespace_ids)
    oldest = unused.order_by("last_used_at").first()
    if oldest is None:
        raise TargetFull(
            f"host {host.pk!r} has {MAX_NAMESPACES} replicas published, and a target cannot have "
            "more: unpublish volumes from it"
        )
    rows.filter(
        pk=oldest.pk, last_used_at=oldest.last_used_at
    ).delete()  # has no effect if another transaction took it
    return oldest.nsid


def _exports() -> QuerySet[Export]:
    """A subquery for the exports that use the id of the outer query's row."""
    return Export.objects.filter(target_nqn=OuterRef("target_nqn"), nsid=OuterRef("nsid"))


def namespace_id_bar(export: Export) -> None:
    """Let no replica use the id of the export for a while, because a node refused it."""
    rows = NamespaceId.objects.filter(target_nqn=export.target_nqn, nsid=export.nsid)
    rows.update(replica_key=None, last_used_at=clock.now())


def namespace_ids_touch(exports: Iterable[Export]) -> None:
    """Record now as the time of the last use of the ids of these exports. Call it before the
    exports are deleted.
    """
    pairs = {(export.target_nqn, export.nsid) for export in exports if not export.for_copy}
    if not pairs:
        return
    ids = reduce(or_, (Q(target_nqn=nqn, nsid=nsid) for nqn, nsid in sorted(pairs)))
    NamespaceId.objects.filter(ids).update(last_used_at=clock.now())


def namespace_ids_delete_unused() -> None:
    """Delete ids that no export has used for KEPT: up to BATCH of them, the oldest first.

    Ids that an export still uses get a new time. So each of them is looked at once in KEPT, and the
    cost of a run does not depend on their number.
    """
    now = clock.now()
    old = NamespaceId.objects.filter(last_used_at__lt=now - KEPT).order_by("last_used_at")
    with transaction.atomic(durable=True):
        # what another transaction has locked is about to be used, or to be deleted
        locked = old.select_for_update(skip_locked=True).values_list("pk", flat=True)
        if keys := list(locked[:BATCH]):
            rows = NamespaceId.objects.filter(pk__in=keys)
            rows.filter(Exists(_exports())).update(last_used_at=now)
            rows.filter(~Exists(_exports())).delete()
