"""Volumes, tenants and targets as JSON (reference, "Get Volumes", "Get Tenants", "Get Targets")."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from provisioner.common import clock
from provisioner.common.models import LifeState
from provisioner.common.moment import require_one_moment
from volumes.health import VolumeHealth
from volumes.health_selectors import volume_healths
from volumes.models import (
    ProvisioningType,
    Snapshot,
    SubVolume,
    target_nqn,
)
from volumes.pending import replica_pending_reason, snapshot_pending_reason, volume_pending_reason
from volumes.placement.scheduler import Plan
from volumes.read_models import ReplicaRow, TargetRow, VolumeAndReplicas, VolumeRow
from volumes.sizing import GIB

TENANT_COLUMNS = (
    "tenant_id",
    "name",
    "capacity_bytes",
    "used_bytes",
    "total_iops",
    "total_bw",
    "follows_pool",
)
BLOCK_SIZES = {512: "512B", 4096: "4KB"}
THIN = ProvisioningType.THIN
MILLISECOND = dt.timedelta(milliseconds=1)


def volumes_json(rows: Sequence[VolumeAndReplicas]) -> list[dict[str, Any]]:
    """Return volumes in the form of the reference, with their health.

    :raises NeedsOneMoment: it needs a query, for the progress of a rebuild.
    """
    now = clock.now()
    healths = volume_healths(rows, before_query=require_one_moment)
    found = []
    for volume, replicas in rows:
        data = _volume(volume, replicas, now)
        _add_health(data, healths[volume.id])
        found.append(data)
    return found


def _add_health(data: dict[str, Any], of: VolumeHealth) -> None:
    data["health"] = of.health
    if of.reason:
        data["healthReason"] = of.reason
    if of.rebuild:
        data["rebuildProgress"] = round(of.rebuild.percent, 1)
        if of.rebuild.seconds_left is not None:
            data["rebuildSecondsLeft"] = of.rebuild.seconds_left


def _volume(volume: VolumeRow, replicas: Sequence[ReplicaRow], now: dt.datetime) -> dict[str, Any]:
    gib = volume.capacity_bytes // GIB
    alone = volume.num_replicas == 1
    data = {
        "alias": volume.alias,
        "uuid": volume.uuid,
        "capacity": volume.capacity_bytes,
        "provisioningType": volume.provisioning_type,
        "numReplicas": len(replicas),
        "replicable": volume.replicable,
        "maxIOPS": volume.max_iops_per_gb * gib,
        "desiredIOPS": volume.desired_iops_per_gb * gib,
        "maxBW": volume.max_bw_per_gb * gib,
        "desiredBW": volume.desired_bw_per_gb * gib,
        "blockSize": BLOCK_SIZES[volume.block_size],
        "maxReplicaDownTime": volume.max_replica_down_minutes,
        "location": [_location(replica, now, alone=alone) for replica in replicas],
        "tenantId": volume.tenant_id,
        "protocol": volume.protocol,
        "allowSpan": volume.allow_span,
        "shareSSDBetweenVolumes": volume.share_ssd,
        "inUse": volume.published,
    }
    if reason := volume_pending_reason(volume):
        data["waitsFor"] = reason
    if volume.storage_class_name:
        data["storageClassName"] = volume.storage_class_name
    if volume.provisioning_type == THIN:
        data["reservedSpace"] = volume.claimed_bytes
    if volume.snapshot__uuid is not None:
        data |= {
            "provisioningType": "OTHER",
            "snapshotID": volume.snapshot__uuid,
            "writable": volume.writable,
        }
    return data


def snapshot_json(snapshot: Snapshot) -> dict[str, Any]:
    """Return a snapshot as JSON. Its volume and replica must be loaded.

    If the client gave no percentage, the percentage that was reserved is shown.
    """
    reserved = snapshot.claimed_bytes * 100 // snapshot.capacity_bytes
    return {
        "alias": snapshot.alias,
        "volumeID": snapshot.volume.uuid,
        "snapshotID": snapshot.uuid,
        "replicaID": snapshot.replica.uuid,
        "reservedSpacePercentage": snapshot.reserved_space_percentage or reserved,
        "reservedSpace": snapshot.claimed_bytes,
        "capacity": snapshot.capacity_bytes,
        "timestamp": int(snapshot.created_at.timestamp() * 1000),
        "tenantId": snapshot.tenant_id,
    } | _pending_reason(snapshot_pending_reason(snapshot))


def _location(replica: ReplicaRow, now: dt.datetime, *, alone: bool) -> dict[str, Any]:
    age = (now - replica.replica_state_since) // MILLISECOND
    data = {
        "uuid": replica.uuid,
        "backend": {"persistentID": replica.backend_id or ""},
        "replicaState": replica.replica_state,
        "currentStateTime": age if age > 0 else 0,
        "inUse": replica.exported,
    }
    if reason := replica_pending_reason(replica, exporting=replica.exporting, alone=alone):
        data["waitsFor"] = reason
    return data


def _pending_reason(text: str) -> dict[str, str]:
    return {"waitsFor": text} if text else {}


def volume_extended_json(
    data: dict[str, Any],
    replicas: Iterable[ReplicaRow],
    sub_volumes: Iterable[SubVolume],
    sessions: Mapping[int, list[str]],
) -> dict[str, Any]:
    """Add to a volume's ``data`` the SSDs and sessions of each replica.

    ``sessions``: connected hosts by replica key.
    """
    for replica, location in zip(replicas, data["location"], strict=True):
        location["subVolumes"] = [
            {"capacity": p.capacity_bytes, "ssdID": p.ssd.ssd_id, "ssdName": p.ssd.name}
            for p in sub_volumes
            if p.replica_id == replica.id
        ]
        if hosts := sessions.get(replica.id):
            location["sessions"] = [{"hostID": host} for host in hosts]
    return data


def plan_json(plan: Plan, *, is_tenants: bool) -> dict[str, Any]:
    """Return the nodes that a create would choose, and why not the others. An extension of the
    reference.

    ``is_tenants``: the caller is bound to a tenant, and sees no numbers of nodes.
    """
    return {
        "chosen": [
            {
                "backend": {"persistentID": r.node.persistent_id},
                "subVolumes": [
                    {
                        "ssdID": p.drive.ssd_id,
                        "capacity": p.capacity_bytes,
                        "reservedSpace": p.claimed_bytes,
                    }
                    for p in r.sub_volumes
                ],
            }
            for r in plan.chosen
        ],
        "refused": [
            {
                "backend": {"persistentID": node},
                "filter": refusal.filter,
                "reason": refusal.why if is_tenants else refusal.text,
            }
            for node, refusal in sorted(plan.refused.items())
        ],
        "explanation": plan.explain(),
    }


def tenant_json(
    tenant: Any, desired: tuple[int, int], pool: tuple[int, int, int]
) -> dict[str, Any]:
    """Return a tenant, of which TENANT_COLUMNS are read, as JSON.

    ``desired``: IOPS and bytes per second that its volumes reserve. ``pool``: capacity in bytes,
    IOPS and bytes per second, shown as the budget of a tenant that follows the pool.
    """
    capacity, iops, bandwidth = (
        pool if tenant.follows_pool else (tenant.capacity_bytes, tenant.total_iops, tenant.total_bw)
    )
    return {
        "tenantId": tenant.tenant_id,
        "name": tenant.name,
        "capacity": capacity // GIB,
        "totalIOPS": iops,
        "totalBW": bandwidth,
        "consumedCapacity": -(-tenant.used_bytes // GIB),
        "consumedIOPS": desired[0],
        "consumedBW": desired[1],
    }


def targets_json(rows: Iterable[TargetRow]) -> list[dict[str, Any]]:
    """Return one entry per target, ordered by NQN."""
    by_host: dict[str, list[TargetRow]] = {}
    for row in rows:
        by_host.setdefault(row.host_id, []).append(row)
    return [_target(of_host) for _, of_host in sorted(by_host.items())]


def _target(rows: list[TargetRow]) -> dict[str, Any]:
    host_id, name = rows[0].host_id, rows[0].host_name
    nodes = {row.backend_id for row in rows if row.backend_id and _exported(row)}
    return {
        "name": target_nqn(host_id),
        "targetName": target_nqn(host_id),
        "alias": name,
        "connectedBackends": [{"persistentID": node} for node in sorted(nodes)],
        "hostTargetConnectedTo": name,
        "numNamespaces": len({row.publication_id for row in rows}),
    }


def _exported(row: TargetRow) -> bool:
    return row.export_state == LifeState.READY


def paths_json(rows: list[TargetRow], volume_uuid: str) -> list[dict[str, Any]]:
    """Return the target's paths to one volume: one entry per node that exports it."""
    return [
        _target(rows) | {"backend": {"persistentID": row.backend_id}, "namespaceId": row.nsid}
        for row in rows
        if row.volume_uuid == volume_uuid and _exported(row)
    ]
