"""Recover publications and exports whose rows are older than the contents of nodes."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from django.db.models import Q

from inventory.models import Host
from inventory.services.pool.generations import generation_next
from provisioner.common import clock
from provisioner.common.models import LifeState
from volumes.models import Export, NamespaceId, Publication, Replica
from volumes.models.publication import NQN_PREFIX
from volumes.reconcilers.recovery.findings import Findings
from volumes.selectors import LIVE
from volumes.services.publication.namespace_ids import namespace_ids_take


class Found(NamedTuple):
    """A namespace on a node."""

    backend_id: str
    nqn: str
    host_nqn: str
    uuid: str
    nsid: int
    generation: int


def exports_resolve(findings: Findings) -> None:
    """Make exports agree with the nodes, inside the caller's transaction.

    An export that agrees with its node becomes READY. Any other export is created again, with a
    generation greater than all that nodes have seen. Volumes that were published after the restored
    state are published again.
    """
    found = list(_namespaces(findings))
    exact = {(f.backend_id, f.nqn, f.uuid, f.nsid, f.host_nqn, f.generation) for f in found}
    rows = Export.objects.filter(LIVE, for_copy=False).select_related("replica")
    if findings.returned:
        rows = rows.filter(replica__backend=findings.returned)
    for export in rows.order_by("pk"):
        where = (export.replica.backend_id, export.target_nqn, export.replica.uuid)
        if (*where, export.nsid, export.host_nqn, export.pk) in exact:
            _confirm(export)
        else:
            _renumber(export)
    for one in found:
        if findings.is_late(one.generation):
            _adopt(one, findings)
    _reserve_namespace_ids(found)


def _reserve_namespace_ids(found: Iterable[Found]) -> None:
    """Reserve the ids of all namespaces on nodes, so that no other replica gets them."""
    NamespaceId.objects.bulk_create(
        [NamespaceId(target_nqn=one.nqn, nsid=one.nsid) for one in found], ignore_conflicts=True
    )


def _namespaces(findings: Findings) -> Iterator[Found]:
    for backend_id, contents in findings.nodes.items():
        for target in contents.targets:
            if target.nqn.startswith(NQN_PREFIX):
                for one in target.namespaces:
                    yield Found(
                        backend_id,
                        target.nqn,
                        target.host_nqn,
                        one.volume_uuid,
                        one.nsid,
                        one.generation,
                    )


def _confirm(export: Export) -> None:
    """Record that the volume is published, because its node has the export."""
    done = {"state": LifeState.READY, "deadline_at": None}
    Export.objects.filter(pk=export.pk).update(**done)
    Publication.objects.filter(exports=export.pk).update(**done)


def _renumber(export: Export) -> None:
    """Give the export a new generation, because its node may have seen a greater one than the
    present one.
    """
    Export.objects.filter(pk=export.pk).update(
        id=generation_next(), state=LifeState.CREATING, deadline_at=clock.now()
    )


def _adopt(found: Found, findings: Findings) -> None:
    """Create a row for the namespace, if its host and replica are known. Otherwise it stays an
    orphan.
    """
    replica = Replica.objects.filter(
        Q(backend=found.backend_id) | Q(backend=None), LIVE, uuid=found.uuid, rebuilding=False
    ).first()
    host = Host.objects.filter(pk=found.nqn.removeprefix(NQN_PREFIX), nqn=found.host_nqn).first()
    if replica is None or host is None or Export.objects.filter(pk=found.generation).exists():
        return
    publication, made = Publication.objects.get_or_create(
        volume_id=replica.volume_id, host=host, defaults={"state": LifeState.READY}
    )
    if made:
        about = f"volume of replica {found.uuid} is published to host {host.pk}"
        findings.report.append(f"{about}, as node {found.backend_id} has it")
    _claim_namespace_id(found, replica, host)
    Export.objects.filter(LIVE, publication=publication, replica=replica).delete()
    Export.objects.create(
        id=found.generation,
        publication=publication,
        target_nqn=found.nqn,
        nsid=found.nsid,
        host_nqn=found.host_nqn,
        replica=replica,
        state=LifeState.READY,
    )


def _claim_namespace_id(found: Found, replica: Replica, host: Host) -> None:
    """Assign the id to the replica that has it on the node. Other rows with this id get another
    one.
    """
    ids = NamespaceId.objects.filter(target_nqn=found.nqn)
    ids.filter(Q(nsid=found.nsid) | Q(replica_key=replica.pk)).delete()
    ids.create(target_nqn=found.nqn, nsid=found.nsid, replica_key=replica.pk)
    others = Export.objects.filter(
        LIVE, target_nqn=found.nqn, nsid=found.nsid, state=LifeState.CREATING
    ).exclude(replica=replica)
    keys = sorted(set(others.values_list("replica_id", flat=True)))
    for key, nsid in namespace_ids_take(host, keys).items() if keys else ():
        others.filter(replica=key).update(nsid=nsid)
