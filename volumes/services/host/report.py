"""The NQN of a host: its row alone says who may connect to its targets (contract, section 7)."""

from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Q

from inventory.models import Host
from inventory.services.hosts import NqnTaken, host_probe, require_host_of_tenant
from volumes.models import Export, Publication, Volume, target_nqn
from volumes.selectors import LIVE
from volumes.services.publication.exports import exports_renew


def host_report(
    *, uuid: str, nqn: str, tenant_id: str | None = None, is_its_own: bool = False, **facts: Any
) -> None:
    """Record a probe, as :func:`~inventory.services.hosts.host_probe` does, also of a host that has
    another NQN than before. Its exports are made anew: no node admits the new NQN before all nodes
    have confirmed that they admit the former one no more. A node that is away holds that up until
    it is back, or removed from the pool by force.

    The NQN of a host that is Unavailable and has nothing published is taken over: that host goes.

    ``tenant_id``: of the caller; None: it is bound to no tenant. ``is_its_own``: the caller speaks
    for this host alone.

    :raises HostOfOthers: the caller's tenant may not change this host.
    :raises NqnTaken: another host has the NQN, or targets that are not this host's may still admit
        it.
    """
    caller = Caller(tenant_id, is_its_own)
    while not _is_so(uuid, nqn, caller):
        if _claim(uuid, nqn, caller):
            break
    host_probe(uuid=uuid, nqn=nqn, tenant_id=tenant_id, **facts)


class Caller(NamedTuple):
    """Who reports a host."""

    tenant_id: str | None
    is_its_own: bool

    def require(self, host: Host, nqn: str) -> None:
        """:raises HostOfOthers: the caller may not report this host with this NQN."""
        if self.tenant_id is not None:
            require_host_of_tenant(
                host, nqn=nqn, tenant_id=self.tenant_id, is_its_own=self.is_its_own
            )


def _is_so(uuid: str, nqn: str, caller: Caller) -> bool:
    """The host has the NQN already."""
    host = Host.objects.filter(pk=uuid, nqn=nqn).first()
    if host is not None:
        caller.require(host, nqn)
    return host is not None


def _claim(uuid: str, nqn: str, caller: Caller) -> bool:
    """Give the host the NQN, if it is known, or see that the NQN is free; False: try again, a
    volume was published to it meanwhile. In the one order of locks: volumes, then hosts.
    """
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
            caller.require(known, nqn)
        for other in hosts.values():
            _take_over(other, uuid, caller)
        _refuse_admitted_elsewhere(uuid, nqn)
        if known is not None:
            Host.objects.filter(pk=uuid).update(nqn=nqn)
            host_exports_renew(uuid)
        return True


def _take_over(other: Host, uuid: str, caller: Caller) -> None:
    """:raises NqnTaken: the other host is Available, has volumes, or is another tenant's."""
    if other.is_available or caller.tenant_id not in {None, other.tenant_id}:
        raise NqnTaken.by(other, host_id=uuid)
    rows = Publication.objects.filter(host=other).order_by("volume__uuid")
    if volumes := list(rows.values_list("volume__uuid", flat=True)):
        raise NqnTaken(
            f"NQN {other.nqn!r} belongs to host {other} ({other.state}), which has volumes "
            f"published: {', '.join(volumes)}. Take them from it with POST /unpublish, or remove "
            f"it with DELETE /hosts/{other.pk}; then host {uuid!r} gets the NQN with its next probe"
        )
    other.delete()


def _refuse_admitted_elsewhere(uuid: str, nqn: str) -> None:
    """:raises NqnTaken: some node may still admit the NQN to the target of another host."""
    exports = Export.objects.filter(host_nqn=nqn, for_copy=False).exclude(
        target_nqn=target_nqn(uuid)
    )
    found = exports.order_by("replica__volume__uuid").values_list(
        "replica__volume__uuid", "replica__backend"
    )
    if found:
        volumes = ", ".join(sorted({volume for volume, _ in found}))
        nodes = ", ".join(sorted({str(node) for _, node in found}))
        raise NqnTaken(
            f"NQN {nqn!r} was another host's, and is still to be shut out of its volumes {volumes} "
            f"by the nodes {nodes}. Host {uuid!r} gets it with its next probe after that; a node "
            "that does not come back must be removed by DELETE /backends/{id}?force=true"
        )


def host_exports_renew(host_id: str) -> None:
    """Write that the host's exports are made anew that admit another NQN than its row says. Inside
    the caller's transaction that holds the volumes.
    """
    exports = Export.objects.filter(LIVE, publication__host=host_id)
    nqn = Host.objects.filter(pk=host_id).values("nqn")
    exports_renew(exports.exclude(host_nqn__in=nqn))
