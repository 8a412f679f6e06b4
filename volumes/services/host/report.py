"""Probes of hosts, and changes of their NQNs. Only the row of a host decides which NQN may connect
to its target.
"""

from django.db import transaction
from django.db.models import Q

from events.kinds import Kind
from events.recording import record
from inventory.models import Host
from inventory.services.hosts import (
    HostReport,
    NqnTaken,
    host_add,
    host_probe,
    require_reportable,
)
from provisioner.common.compiled import Compiled, text
from volumes.models import Export, Publication, Volume, target_nqn
from volumes.selectors import LIVE
from volumes.services.publication.exports import exports_renew

HAS_NQN = Compiled(
    lambda: Host.objects.filter(pk=text("host"), nqn=text("nqn")).order_by().values_list("pk")
)


def host_report(report: HostReport) -> None:
    """Record a probe of a host, even if the host has another NQN than before.

    It extends :func:`~inventory.services.hosts.host_probe`. When the NQN changes, the exports of
    the host are renewed. No node admits the new NQN before all nodes have confirmed that they no
    longer admit the former one. A node that does not answer delays this until it is back, or is
    removed from the pool by force.

    A host takes over the NQN of another host that is Unavailable and has no publication. That other
    host is deleted.

    :raises HostOfOtherTenant: the host belongs to another tenant than the caller.
    :raises NqnTaken: another host has the NQN, or targets of another host may still admit it.
    """
    while not _has_nqn(report):
        if _claim(report):
            break
    host_probe(report)


def _has_nqn(report: HostReport) -> bool:
    """Whether the host already has the NQN."""
    if report.tenant_id is None:
        return bool(list(HAS_NQN.rows(host=report.uuid, nqn=report.nqn)))
    host = Host.objects.filter(pk=report.uuid, nqn=report.nqn).first()
    if host is not None:
        require_reportable(host, report)
    return host is not None


def _claim(report: HostReport) -> bool:
    """Assign the NQN to the host. An unknown host is created if the NQN is free.

    Returns False if a volume was published to the host meanwhile, or another process created the
    host. Then the caller tries again, because volumes are locked before hosts.
    """
    uuid, nqn = report.uuid, report.nqn
    with transaction.atomic(durable=True):
        volumes = Volume.objects.filter(publications__host=uuid)
        locked = Volume.objects.select_for_update().filter(pk__in=volumes).order_by("pk")
        keys = [volume.pk for volume in locked]
        concerned = Host.objects.select_for_update().filter(Q(pk=uuid) | Q(nqn=nqn))
        hosts = {host.pk: host for host in concerned.order_by("pk")}
        if Publication.objects.filter(host=uuid).exclude(volume__in=keys).exists():
            return False
        known = hosts.pop(uuid, None)
        if known is not None:
            require_reportable(known, report)
            if known.nqn == nqn:  # another probe was faster
                return True
        for other in hosts.values():
            _take_over(other, report)
        _require_not_admitted_elsewhere(uuid, nqn, report.tenant_id)
        if known is not None:
            Host.objects.filter(pk=uuid).update(nqn=nqn)
            record(
                Kind.HOST_NQN_CHANGED, tenant=known.tenant_id, host=uuid, nqn=nqn, former=known.nqn
            )
            host_exports_renew(uuid)
            return True
        if not host_add(report):
            return False
        tenant = report.tenant_id or ""
        record(Kind.HOST_ADDED, tenant=tenant, host=uuid, name=report.name, nqn=nqn)
        return True


def _take_over(other: Host, report: HostReport) -> None:
    """Delete the other host, so that its NQN is free.

    :raises NqnTaken: the other host is Available, has volumes, or is another tenant's.
    """
    uuid, tenant_id = report.uuid, report.tenant_id
    if tenant_id is not None and other.tenant_id not in {"", tenant_id}:
        raise NqnTaken(f"NQN {other.nqn!r} is in use, so host {uuid!r} cannot have it")
    if other.is_available or tenant_id not in {None, other.tenant_id}:
        raise NqnTaken.by(other, host_id=uuid)
    rows = Publication.objects.filter(host=other).order_by("volume__uuid")
    if volumes := list(rows.values_list("volume__uuid", flat=True)):
        raise NqnTaken(
            f"NQN {other.nqn!r} belongs to host {other} ({other.state}), which has volumes "
            f"published: {', '.join(volumes)}. Unpublish them with POST /unpublish, or remove "
            f"that host with DELETE /hosts/{other.pk}; host {uuid!r} gets the NQN with its next "
            "probe after that"
        )
    other.delete()
    record(
        Kind.HOST_REMOVED,
        tenant=other.tenant_id,
        host=other.uuid,
        name=other.name,
        reason=f"host {uuid} took its NQN over",
    )


def _require_not_admitted_elsewhere(uuid: str, nqn: str, tenant_id: str | None) -> None:
    """Check that no node may still admit the NQN to the target of another host.

    :raises NqnTaken: a node may still admit it.
    """
    exports = Export.objects.filter(host_nqn=nqn, for_copy=False).exclude(
        target_nqn=target_nqn(uuid)
    )
    found = exports.order_by("replica__volume__uuid").values_list(
        "replica__volume__uuid", "replica__backend"
    )
    if found and tenant_id is not None:  # they may be another tenant's
        raise NqnTaken(
            f"NQN {nqn!r} was another host's, and nodes may still admit it to that host's volumes. "
            f"Host {uuid!r} gets the NQN with its next probe after they have confirmed that they "
            "do not"
        )
    if found:
        volumes = ", ".join(sorted({volume for volume, _ in found}))
        nodes = ", ".join(sorted({str(node) for _, node in found}))
        raise NqnTaken(
            f"NQN {nqn!r} was another host's, and the nodes {nodes} may still admit it to that "
            f"host's volumes {volumes}. Host {uuid!r} gets the NQN with its next probe after these "
            "nodes have confirmed that they do not; remove a node that does not come back with "
            "DELETE /backends/{id}?force=true"
        )


def host_exports_renew(host_id: str) -> None:
    """Renew the exports of the host that admit another NQN than the one in its row.

    Runs inside the caller's transaction, which holds the locks of the volumes.
    """
    exports = Export.objects.filter(LIVE, publication__host=host_id)
    nqn = Host.objects.filter(pk=host_id).values("nqn")
    exports_renew(exports.exclude(host_nqn__in=nqn))
