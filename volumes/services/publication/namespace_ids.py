"""Namespace ids of exports (contract, section 7): each is one replica's in its host's target, on
whatever node, and not soon another replica's.
"""

import datetime as dt
from collections.abc import Collection, Iterable
from functools import reduce
from operator import or_

from django.db.models import Exists, OuterRef, Q, QuerySet

from inventory.models import Host
from inventory.nodes.target_ids import MAX_NAMESPACES
from provisioner.common import clock
from provisioner.common.results import ProvisionerError, ResultCode
from volumes.models import Export, NamespaceId, target_nqn

KEPT = dt.timedelta(hours=24)
"""For so long after its last export an id is no other replica's, and must be longer than nodes
refuse that."""


class TargetFull(ProvisionerError):
    code = ResultCode.PublishFailed


def namespace_ids_take(host: Host, replica_keys: Collection[int]) -> dict[int, int]:
    """By replica key, its id in the host's target: the one it has, or had, or else the lowest that
    was no other replica's lately and that the host does not use for something else. Inside the
    caller's transaction, as its last claim: who finds an id being taken waits for who takes it.

    :raises TargetFull: the target has as many namespaces as it can.
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
    """Give up the id that no export has for the longest time."""
    unused = rows.filter(~Exists(_exports())).exclude(nsid__in=host.used_namespace_ids)
    oldest = unused.order_by("last_used_at").first()
    if oldest is None:
        raise TargetFull(
            f"host {host.pk!r} has {MAX_NAMESPACES} replicas published, and a target cannot have "
            "more: unpublish volumes from it"
        )
    rows.filter(pk=oldest.pk, last_used_at=oldest.last_used_at).delete()  # else others took it
    return oldest.nsid


def _exports() -> QuerySet[Export]:
    """Those that have the id of the outer query's row."""
    return Export.objects.filter(target_nqn=OuterRef("target_nqn"), nsid=OuterRef("nsid"))


def namespace_id_bar(export: Export) -> None:
    """The export's id is no replica's for a while: a node refused it."""
    rows = NamespaceId.objects.filter(target_nqn=export.target_nqn, nsid=export.nsid)
    rows.update(replica_key=None, last_used_at=clock.now())


def namespace_ids_touch(exports: Iterable[Export]) -> None:
    """These exports are about to go: their ids were used until now."""
    pairs = {(export.target_nqn, export.nsid) for export in exports if not export.for_copy}
    if not pairs:
        return
    ids = reduce(or_, (Q(target_nqn=nqn, nsid=nsid) for nqn, nsid in sorted(pairs)))
    NamespaceId.objects.filter(ids).update(last_used_at=clock.now())


def namespace_ids_delete_unused() -> None:
    """Forget the ids that no export had for KEPT."""
    old = NamespaceId.objects.filter(last_used_at__lt=clock.now() - KEPT)
    old.filter(~Exists(_exports())).delete()
