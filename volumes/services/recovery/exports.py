"""Publications and exports whose rows are older than what nodes hold."""

from collections.abc import Iterator
from typing import NamedTuple

from django.db.models import Q
from django.utils import timezone

from inventory.models import Host
from inventory.services.generations import generation_next
from provisioner.common.models import LifeState
from volumes.models import Export, Publication, Replica
from volumes.models.publication import NQN_PREFIX
from volumes.selectors import LIVE
from volumes.services.recovery.findings import Findings


class Found(NamedTuple):
    """A namespace on a node."""

    backend_id: str
    nqn: str
    host_nqn: str
    uuid: str
    nsid: int
    generation: int


def exports_resolve(findings: Findings) -> None:
    """Exports are as nodes have them, or begin again with a generation above all that nodes saw;
    what was published since the restored state is published. Within the caller's transaction.
    """
    found = list(_namespaces(findings))
    exact = {(f.backend_id, f.nqn, f.uuid, f.nsid, f.host_nqn, f.generation) for f in found}
    rows = Export.objects.filter(LIVE, for_copy=False).select_related("replica")
    for export in rows.order_by("pk"):
        where = (export.replica.backend_id, export.target_nqn, export.replica.uuid)
        if (*where, export.nsid, export.host_nqn, export.pk) in exact:
            _confirm(export)
        else:
            _renumber(export)
    for one in found:
        if findings.is_late(one.generation):
            _adopt(one, findings)


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
    """The node has it, so the volume is published."""
    done = {"state": LifeState.READY, "deadline_at": None}
    Export.objects.filter(pk=export.pk).update(**done)
    Publication.objects.filter(exports=export.pk).update(**done)


def _renumber(export: Export) -> None:
    """What its node saw meanwhile would overtake it for ever."""
    Export.objects.filter(pk=export.pk).update(
        id=generation_next(), state=LifeState.CREATING, deadline_at=timezone.now()
    )


def _adopt(found: Found, findings: Findings) -> None:
    """A host that is known uses a volume that is known; else it stays an orphan."""
    replica = Replica.objects.filter(
        Q(backend=found.backend_id) | Q(backend=None), LIVE, uuid=found.uuid, filling=False
    ).first()
    host = Host.objects.filter(pk=found.nqn.removeprefix(NQN_PREFIX), nqn=found.host_nqn).first()
    if replica is None or host is None or Export.objects.filter(pk=found.generation).exists():
        return
    theirs = Publication.objects.filter(host=host)
    publication = theirs.filter(volume=replica.volume_id).first()
    if publication is None and not theirs.filter(nsid=found.nsid).exists():
        publication = Publication.objects.create(
            volume_id=replica.volume_id, host=host, nsid=found.nsid, state=LifeState.READY
        )
        about = f"volume of replica {found.uuid} is published to host {host.pk}"
        findings.report.append(f"{about}, as node {found.backend_id} has it")
    if publication is None or publication.nsid != found.nsid:
        return
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
