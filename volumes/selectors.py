"""Queries for placement candidates, volumes, snapshots, exports and tenants."""

from collections.abc import Iterable
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Count, Exists, F, OuterRef, Prefetch, Q, QuerySet, Sum

from inventory.models import Backend, BackendAddress, Host, Ssd
from provisioner.common import clock
from provisioner.common.compiled import Compiled, prefetched, text, unindexed
from provisioner.common.models import LifeState
from provisioner.common.tenancy import of_tenant
from volumes.models import (
    RESERVING,
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
"""Replicas that clients see. The new replica of a one-replica volume has the same uuid as the old
one, and is hidden until it takes over.
"""
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
    "enforces_limits",
)
"""Columns of a backend that are fields of a placement candidate with the same names."""
NODES = Compiled(
    lambda: Backend.objects.order_by("persistent_id").values_list(
        "available_until", "unanswered_since", *NODE_COLUMNS
    )
)
SSDS = Compiled(
    lambda: Ssd.objects.filter(present=True).values_list(
        "backend_id", "id", "ssd_id", "capacity_bytes", "used_bytes", "block_size"
    )
)
BACKEND_COLUMNS = [field.attname for field in Backend._meta.concrete_fields]
WITH_ADDRESSES = Compiled(
    lambda: (
        BackendAddress.objects.filter(backend=text("backend"))
        .order_by("position")
        .values_list("address", *(f"backend__{name}" for name in BACKEND_COLUMNS))
    )
)
SUB_VOLUMES = Prefetch("sub_volumes", SubVolume.objects.select_related("ssd"))


def candidates_read(exclusive_class: str = "") -> list[Candidate]:
    """Return all nodes, with their SSDs, as candidates for placement.

    ``exclusive_class``: SSDs that hold a volume of this storage class are marked.
    """
    now = clock.now()
    taken = _ssds_with_class(exclusive_class) if exclusive_class else frozenset()
    drives: dict[str, list[Drive]] = {}
    totals: dict[str, int] = {}
    for backend_id, pk, ssd_id, capacity, used, block_size in SSDS.rows():
        drive = Drive(pk, ssd_id, capacity - used, pk in taken, block_size)
        drives.setdefault(backend_id, []).append(drive)
        totals[backend_id] = totals.get(backend_id, 0) + capacity
    return [
        Candidate(
            available=available_until >= now,
            answers=unanswered_since is None,
            total_bytes=totals.get(node[0], 0),
            drives=tuple(drives.get(node[0], ())),
            **dict(zip(NODE_COLUMNS, node, strict=True)),
        )
        for available_until, unanswered_since, *node in NODES.rows()
    ]


def _ssds_with_class(name: str) -> frozenset[int]:
    rows = SubVolume.objects.filter(storage_class_name=name).values_list("ssd_id", flat=True)
    return frozenset(rows.distinct())


def volumes_visible(tenant_id: str | None) -> QuerySet[Volume]:
    """Return the volumes that clients see: READY, and of the tenant, if one is given."""
    rows = Volume.objects.filter(state=LifeState.READY)
    return rows if tenant_id is None else rows.filter(tenant_id=tenant_id)


def volumes_filter(
    rows: QuerySet[Volume], *, backend_id: str | None, host_id: str | None
) -> QuerySet[Volume]:
    """Keep the volumes with a replica on the backend and a publication to the host; None: any."""
    if backend_id is not None:
        on_backend = Replica.objects.filter(VISIBLE, volume=OuterRef("pk"), backend_id=backend_id)
        rows = rows.filter(Exists(on_backend))
    if host_id is not None:
        to_host = Publication.objects.filter(volume=OuterRef("pk"), host_id=host_id)
        rows = rows.filter(Exists(to_host))
    return rows


def sub_volumes_of(volume_id: int) -> QuerySet[SubVolume]:
    """Return the sub-volumes of a volume's replicas, with their SSDs."""
    return SubVolume.objects.filter(replica__volume=volume_id).select_related("ssd")


def replicas_with_nodes(rows: QuerySet[Replica]) -> QuerySet[Replica]:
    """Load the replicas with all rows that calls to their nodes need."""
    return rows.select_related("backend").prefetch_related("backend__addresses", SUB_VOLUMES)


def backend_with_addresses(backend_id: str) -> Backend | None:
    """Load a backend with all rows that a call to its node needs, in one statement."""
    rows = list(WITH_ADDRESSES.rows(backend=backend_id))
    if not rows:
        return None
    backend = Backend.from_db(DEFAULT_DB_ALIAS, BACKEND_COLUMNS, rows[0][1:])
    prefetched(backend, "addresses", [BackendAddress(address=address) for address, *_ in rows])
    return backend


def replicas_expanded_offline(volume: Volume) -> QuerySet[Replica]:
    """Return the replicas of the volume that span SSDs, on nodes that expand such a volume only
    while no host uses it.
    """
    rows = volume.replicas.filter(LIVE, backend__expands_spans_online=False)
    return rows.alias(spans=Count("sub_volumes", distinct=True)).filter(spans__gt=1)


def snapshots_visible(tenant_id: str | None) -> QuerySet[Snapshot]:
    """Return the snapshots that clients see: READY, and of the tenant, if one is given."""
    rows = Snapshot.objects.filter(state=LifeState.READY)
    return rows if tenant_id is None else rows.filter(tenant_id=tenant_id)


def snapshots_of_host(rows: QuerySet[Snapshot], host_id: str | None) -> QuerySet[Snapshot]:
    """Keep the snapshots of volumes that are published to the host; None: all."""
    to_host = Publication.objects.filter(volume=OuterRef("volume"), host_id=host_id)
    return rows if host_id is None else rows.filter(Exists(to_host))


def snapshot_rows(rows: QuerySet[Snapshot]) -> QuerySet[Snapshot]:
    """Load the snapshots with their volumes and replicas."""
    return rows.select_related("volume", "replica")


def snapshots_with_nodes(rows: QuerySet[Snapshot]) -> QuerySet[Snapshot]:
    """Load the snapshots with all rows that calls to their nodes need."""
    return rows.select_related("replica__backend").prefetch_related(
        "replica__backend__addresses", SUB_VOLUMES
    )


def exports_with_nodes(rows: QuerySet[Export]) -> QuerySet[Export]:
    """Load the exports with all rows that calls to their nodes need."""
    return rows.select_related("replica__backend").prefetch_related("replica__backend__addresses")


def publications_of_targets(
    *,
    host_id: Any = None,
    volume_id: Any = None,
    tenant_id: Any = None,
    seen_by: Any = None,
) -> QuerySet[Publication]:
    """Return the publications that are namespaces of targets. None: any.

    ``seen_by``: the id of the host that asks. A host sees its own target and, in the targets of
    other hosts, the volumes that it shares with them. The values may be arguments of a compiled
    statement.
    """
    rows = Publication.objects.exclude(volume__protocol=Protocol.LOCAL)
    if seen_by is not None:
        shared = Publication.objects.filter(volume=OuterRef("volume"), host_id=seen_by)
        mine = Q(host_id=seen_by)
        both = volume_id is not None
        rows = rows.filter(mine | Q(Exists(shared), volume__uuid=volume_id) if both else mine)
    if host_id is not None:
        rows = rows.filter(host_id=host_id)
    if tenant_id is not None and (host_id, volume_id, seen_by) == (None, None, None):
        rows = rows.filter(volume__tenant_id=tenant_id)
    elif tenant_id is not None:
        rows = rows.filter(unindexed("volume__tenant_id", tenant_id))
    if volume_id is not None:
        of_volume = Publication.objects.filter(volume__uuid=volume_id, host_id=OuterRef("host_id"))
        if tenant_id is not None:
            of_volume = of_volume.filter(unindexed("volume__tenant_id", tenant_id))
        rows = rows.filter(Exists(of_volume))
    return rows


def hosts_with(publications: QuerySet[Publication]) -> QuerySet[Host]:
    """Return the hosts of the publications."""
    return Host.objects.filter(Exists(publications.filter(host_id=OuterRef("pk"))))


def tenants_visible(tenant_id: str | None) -> QuerySet[Tenant]:
    """Return the tenant, or all tenants."""
    rows = Tenant.objects.order_by("tenant_id")
    return rows if tenant_id is None else rows.filter(pk=tenant_id)


def tenant_desires(tenant_id: str | None) -> dict[str, tuple[int, int]]:
    """Return the IOPS and bytes per second that volumes reserve, by tenant: all tenants, or one.
    Those with no such volumes are left out.
    """
    gib = F("capacity_bytes") / GIB
    rows = of_tenant(Volume.objects.filter(RESERVING), tenant_id).order_by()
    sums = rows.values_list("tenant_id").annotate(
        iops=Sum(gib * F("desired_iops_per_gb")), bandwidth=Sum(gib * F("desired_bw_per_gb"))
    )
    return {tenant: (int(iops), int(bandwidth)) for tenant, iops, bandwidth in sums}


def pool_totals() -> tuple[int, int, int]:
    """Return the capacity in bytes, IOPS, and bytes per second of all nodes together."""
    capacity = Ssd.objects.aggregate(n=Sum("capacity_bytes", default=0))["n"]
    nodes = Backend.objects.aggregate(
        iops=Sum("total_iops", default=0), bw=Sum("total_bw", default=0)
    )
    return capacity, nodes["iops"], nodes["bw"]


def used_namespace_ids(host_ids: Iterable[str], tenant_id: str | None) -> dict[str, set[int]]:
    """Return, by host id, the namespace ids that its exports use: those of all volumes, or of this
    tenant's.
    """
    hosts = {target_nqn(host_id): host_id for host_id in host_ids}
    rows = of_tenant(Export.objects.filter(LIVE, target_nqn__in=list(hosts)), tenant_id)
    used: dict[str, set[int]] = {}
    for nqn, nsid in rows.values_list("target_nqn", "nsid"):
        used.setdefault(hosts[nqn], set()).add(nsid)
    return used
