"""Renew READY exports on a node whose NQN or ids differ from the rows.

An older version created them, or values have changed since. A change of ids would confuse a
connected host. So namespace ids and controller ids are changed only while the host is not
connected.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet

from inventory.models import Backend
from inventory.services.node.controller_slots import controller_ids
from provisioner.common import clock
from provisioner.common.models import LifeState
from volumes.models import Export, NamespaceId, Publication, Replica, Volume, target_nqn
from volumes.selectors import LIVE
from volumes.services.host.report import host_exports_renew
from volumes.services.node.contents import NodeContents
from volumes.services.publication.exports import exports_renew
from volumes.services.publication.namespace_ids import TargetFull

log = logging.getLogger(__name__)


def exports_repair(backend: Backend, contents: NodeContents) -> list[int]:
    """Renew the rows of exports that differ. Returns the keys of the exports to create again."""
    exports = Export.objects.filter(LIVE, replica__backend=backend, publication__isnull=False)
    for host_id in _of_former_nqns(exports):
        with _full_targets_logged(backend):
            _renew_of_host(host_id)
    connected = {target.nqn for target in contents.targets if target.connected_hosts}
    for export in exports.filter(state=LifeState.READY).exclude(_has_own_id()):
        with _full_targets_logged(backend):
            _give_own_id(export, movable=export.target_nqn not in connected)
    ids = controller_ids(backend)
    misnumbered = {t.nqn for t in contents.targets if t.controllers != ids} - connected
    ready = exports.filter(state=LifeState.READY, target_nqn__in=sorted(misnumbered))
    return list(ready.values_list("pk", flat=True))


def former_exports(replica: Replica, contents: NodeContents) -> set[tuple[str, int]]:
    """Return the exports (NQN, generation) on the node that no longer match a publication."""
    rows = Publication.objects.filter(volume=replica.volume_id).select_related("host")
    hosts = {target_nqn(row.host_id): row.host.nqn for row in rows}
    own = NamespaceId.objects.filter(target_nqn__in=list(hosts), replica_key=replica.pk)
    wanted = {(nqn, nsid, hosts[nqn]) for nqn, nsid in own.values_list("target_nqn", "nsid")}
    return {
        (target.nqn, one.generation)
        for target in contents.targets
        for one in target.namespaces
        if one.volume_uuid == replica.uuid and (target.nqn, one.nsid, target.host_nqn) not in wanted
    }


@contextmanager
def _full_targets_logged(backend: Backend) -> Iterator[None]:
    """The exports of other hosts are repaired although the target of one is full."""
    try:
        yield
    except TargetFull as error:
        about = {"backend": backend.pk, "reason": str(error)}
        log.error("an export cannot be repaired", extra=about)


def _of_former_nqns(exports: QuerySet[Export]) -> list[str]:
    others = exports.exclude(host_nqn=F("publication__host__nqn"))
    return sorted(set(others.values_list("publication__host", flat=True)))


def _renew_of_host(host_id: str) -> None:
    with transaction.atomic(durable=True):
        volumes = Volume.objects.filter(publications__host=host_id)
        list(Volume.objects.select_for_update().filter(pk__in=volumes).order_by("pk"))
        host_exports_renew(host_id)


def _has_own_id() -> Exists:
    return Exists(
        NamespaceId.objects.filter(
            target_nqn=OuterRef("target_nqn"),
            nsid=OuterRef("nsid"),
            replica_key=OuterRef("replica"),
        )
    )


def _give_own_id(export: Export, *, movable: bool) -> None:
    """Reserve the id of the export for its replica, unless another replica uses that id in the
    target.

    In that case, renew the export with another id if it is ``movable``.
    """
    with transaction.atomic(durable=True):
        list(Volume.objects.select_for_update().filter(replicas=export.replica_id))
        live = Export.objects.filter(LIVE, pk=export.pk)
        same_id = Export.objects.filter(target_nqn=export.target_nqn, nsid=export.nsid)
        if not same_id.exclude(replica=export.replica_id).exists():
            rows = NamespaceId.objects.filter(target_nqn=export.target_nqn)
            former = rows.filter(replica_key=export.replica_id).exclude(nsid=export.nsid)
            former.update(replica_key=None)
            own = {"replica_key": export.replica_id, "last_used_at": clock.now()}
            rows.update_or_create(target_nqn=export.target_nqn, nsid=export.nsid, defaults=own)
        elif movable and live.exists():
            exports_renew(live)
