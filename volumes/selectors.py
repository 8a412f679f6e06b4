"""Reads: candidates of placement, volumes, targets."""

from collections.abc import Iterable

from django.db.models import Count, Exists, F, OuterRef, Prefetch, Q, QuerySet, Sum

from inventory.models import Backend, Host, Ssd
from provisioner.common import clock
from provisioner.common.models import LifeState
from volumes.models import (
    Export,
    Protocol,
    Publication,
    Replica,
    Snapshot,
    SubVolume,
    Tenant,
    Volume,
    target_nqn,
)
from volumes.placement.request import Candidate, Drive
from volumes.sizing import GIB

LIVE = ~Q(state=LifeState.DELETING)
VISIBLE = LIVE & ~Q(rebuilding=True, volume__num_replicas=1)
"""Replicas that clients see: what an only replica moves to bears its uuid, and is none yet."""
NODE_COLUMNS = (
    "persistent_id",
    "name",
    "in_use",
    "host_id",
    "region",
    "zone",
    "rack",
    "total_iops",
    "used_iops",
    "total_bw",
    "used_bw",
)
"""Of a backend, as placement names them."""
SUB_VOLUMES = Prefetch("sub_volumes", SubVolume.objects.select_related("ssd"))


def candidates_read(exclusive_class: str = "") -> list[Candidate]:
    """All nodes and SSDs as placement sees them. ``exclusive_class``: marks the SSDs that hold a
    volume of that storage class.
    """
    now = clock.now()
    taken = _ssds_with_class(exclusive_class) if exclusive_class else frozenset()
    ssds = Ssd.objects.filter(present=True).values_list(
        "backend_id", "id", "ssd_id", "capacity_bytes", "used_bytes", "block_size"
    )
    drives: dict[str, list[Drive]] = {}
    totals: dict[str, int] = {}
    for backend_id, pk, ssd_id, capacity, used, block_size in ssds:
        drive = Drive(pk, ssd_id, capacity - used, pk in taken, block_size)
        drives.setdefault(backend_id, []).append(drive)
        totals[backend_id] = totals.get(backend_id, 0) + capacity
    nodes = Backend.objects.order_by("persistent_id").values(
        *NODE_COLUMNS, "available_until", "unanswered_since"
    )
    return [
        Candidate(
            available=node.pop("available_until") >= now,
            answers=node.pop("unanswered_since") is None,
            total_bytes=totals.get(node["persistent_id"], 0),
            drives=tuple(drives.get(node["persistent_id"], ())),
            **node,
        )
        for node in nodes
    ]


def _ssds_with_class(name: str) -> frozenset[int]:
    rows = SubVolume.objects.filter(storage_class_name=name).values_list("ssd_id", flat=True)
    return frozenset(rows.distinct())


def volumes_visible(tenant_id: str | None) -> QuerySet[Volume]:
    """Volumes that clients see: made, and not being removed; of one tenant or of all."""
    rows = Volume.objects.filter(state=LifeState.READY)
    return rows if tenant_id is None else rows.filter(tenant_id=tenant_id)


def volumes_filter(
    rows: QuerySet[Volume], *, backend_id: str | None, host_id: str | None
) -> QuerySet[Volume]:
    """Those with a replica on the backend, and published to the host; absent: no wish."""
    if backend_id is not None:
        on_backend = Replica.objects.filter(VISIBLE, volume=OuterRef("pk"), backend_id=backend_id)
        rows = rows.filter(Exists(on_backend))
    if host_id is not None:
        to_host = Publication.objects.filter(volume=OuterRef("pk"), host_id=host_id)
        rows = rows.filter(Exists(to_host))
    return rows


def sub_volumes_of(volume_id: int) -> QuerySet[SubVolume]:
    """Where the replicas of a volume lie, with their SSDs."""
    return SubVolume.objects.filter(replica__volume=volume_id).select_related("ssd")


def replicas_with_nodes(rows: QuerySet[Replica]) -> QuerySet[Replica]:
    """Replicas with all that a call to their node needs."""
    return rows.select_related("backend").prefetch_related("backend__addresses", SUB_VOLUMES)


def replicas_expanded_offline(volume: Volume) -> QuerySet[Replica]:
    """Those on several SSDs of a node that expands such only while no host has them."""
    rows = volume.replicas.filter(LIVE, backend__expands_spans_online=False)
    return rows.alias(spans=Count("sub_volumes", distinct=True)).filter(spans__gt=1)


def snapshots_visible(tenant_id: str | None) -> QuerySet[Snapshot]:
    """Snapshots that clients see: taken, and not being removed; of one tenant or of all."""
    rows = Snapshot.objects.filter(state=LifeState.READY)
    return rows if tenant_id is None else rows.filter(tenant_id=tenant_id)


def snapshots_of_host(rows: QuerySet[Snapshot], host_id: str | None) -> QuerySet[Snapshot]:
    """Those of volumes that are published to the host; None: all."""
    to_host = Publication.objects.filter(volume=OuterRef("volume"), host_id=host_id)
    return rows if host_id is None else rows.filter(Exists(to_host))


def snapshot_rows(rows: QuerySet[Snapshot]) -> QuerySet[Snapshot]:
    """Snapshots with the names of their volumes and replicas."""
    return rows.select_related("volume", "replica")


def snapshots_with_nodes(rows: QuerySet[Snapshot]) -> QuerySet[Snapshot]:
    """Snapshots with all that a call to their node needs."""
    return rows.select_related("replica__backend").prefetch_related(
        "replica__backend__addresses", SUB_VOLUMES
    )


def exports_with_nodes(rows: QuerySet[Export]) -> QuerySet[Export]:
    """Exports with all that a call to their node needs."""
    return rows.select_related("replica__backend").prefetch_related("replica__backend__addresses")


def publications_of_targets(
    *,
    host_id: str | None,
    volume_id: str | None,
    tenant_id: str | None,
    seen_by: str | None = None,
) -> QuerySet[Publication]:
    """Publications that are namespaces of targets, with exports and hosts. ``seen_by``: a host,
    which sees its own target and, of those of others, the volumes that it shares with them.
    """
    rows = Publication.objects.exclude(volume__protocol=Protocol.LOCAL)
    if seen_by is not None:
        shared = Publication.objects.filter(volume=OuterRef("volume"), host_id=seen_by)
        mine = Q(host_id=seen_by)
        rows = rows.filter(mine | Q(Exists(shared), volume__uuid=volume_id) if volume_id else mine)
    if host_id is not None:
        rows = rows.filter(host_id=host_id)
    if tenant_id is not None:
        rows = rows.filter(volume__tenant_id=tenant_id)
    if volume_id is not None:
        of_volume = Publication.objects.filter(volume__uuid=volume_id, host_id=OuterRef("host_id"))
        rows = rows.filter(Exists(of_volume))
    exports = Export.objects.select_related("replica")
    return rows.select_related("host", "volume").prefetch_related(Prefetch("exports", exports))


def hosts_with(publications: QuerySet[Publication]) -> QuerySet[Host]:
    """Hosts that have one of them."""
    return Host.objects.filter(Exists(publications.filter(host_id=OuterRef("pk"))))


def tenants_visible(tenant_id: str | None) -> QuerySet[Tenant]:
    """One tenant, or all."""
    rows = Tenant.objects.order_by("tenant_id")
    return rows if tenant_id is None else rows.filter(pk=tenant_id)


def tenant_desires() -> dict[str, tuple[int, int]]:
    """By tenant: the IOPS, and bytes per second, that its volumes desire together."""
    gib = F("capacity_bytes") / GIB
    rows = Volume.objects.filter(LIVE).values("tenant_id")
    sums = rows.annotate(
        iops=Sum(gib * F("desired_iops_per_gb")), bw=Sum(gib * F("desired_bw_per_gb"))
    )
    return {
        row["tenant_id"]: (int(row["iops"]), int(row["bw"])) for row in sums.order_by("tenant_id")
    }


def pool_totals() -> tuple[int, int, int]:
    """Capacity in bytes, IOPS and bandwidth in bytes per second, summed over all nodes."""
    capacity = Ssd.objects.aggregate(n=Sum("capacity_bytes", default=0))["n"]
    nodes = Backend.objects.aggregate(
        iops=Sum("total_iops", default=0), bw=Sum("total_bw", default=0)
    )
    return capacity, nodes["iops"], nodes["bw"]


def used_namespace_ids(host_ids: Iterable[str]) -> dict[str, set[int]]:
    """Namespace ids given out to hosts."""
    hosts = {target_nqn(host_id): host_id for host_id in host_ids}
    rows = Export.objects.filter(LIVE, target_nqn__in=list(hosts))
    used: dict[str, set[int]] = {}
    for nqn, nsid in rows.values_list("target_nqn", "nsid"):
        used.setdefault(hosts[nqn], set()).add(nsid)
    return used
