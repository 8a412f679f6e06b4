"""What a node is told of whose a thing is: enough to make its rows again, and no more."""

import json
from functools import cache
from typing import Any

from django.db import connection

from inventory.nodes.wire import Owner
from inventory.services.pool import pool_identity
from volumes.models import Replica, ReplicaState, Snapshot, Volume

TOLD = (
    "num_replicas",
    "protocol",
    "reserved_space_percentage",
    "max_iops_per_gb",
    "desired_iops_per_gb",
    "max_bw_per_gb",
    "desired_bw_per_gb",
    "max_replica_down_minutes",
    "allow_span",
    "storage_class_name",
    "share_ssd",
    "same_rack_allowed",
    "host_id",
    "cloned_from",
)
PLACES = ("racks", "zones", "regions")
"""Lists that clients give, of any length: left out where all is more than MORE_BYTES."""
MORE_BYTES = 4096
OUTDATED = (ReplicaState.MISSING, ReplicaState.SYNCHRONIZING)


def replica_owner(volume: Volume, replica: Replica) -> Owner:
    """``complete`` as far as rows say; the replica that a one-replica volume moves to is, too, when
    its copy is done: ``replica_copied``.
    """
    return Owner(
        pool=pool_uuid(),
        tenant=volume.tenant_id,
        volume=volume.uuid,
        alias=volume.alias,
        complete=not replica.rebuilding and replica.replica_state not in OUTDATED,
        more=_more(volume),
    )


def snapshot_owner(snapshot: Snapshot) -> Owner:
    """The volume that a snapshot is of is told by the node's spec of it."""
    percent = snapshot.reserved_space_percentage
    return Owner(
        pool=pool_uuid(),
        tenant=snapshot.tenant_id,
        volume=snapshot.replica.uuid,
        alias=snapshot.alias,
        more={"reserved_space_percentage": percent},
    )


def pool_uuid() -> str:
    """It never changes: read once by each process."""
    return _pool_uuid(str(connection.settings_dict["NAME"]))


@cache
def _pool_uuid(database: str) -> str:
    return pool_identity().uuid


def _more(volume: Volume) -> dict[str, Any]:
    told = {name: getattr(volume, name) for name in (*TOLD, *PLACES)}
    if len(json.dumps(told)) > MORE_BYTES:
        told = {name: told[name] for name in TOLD}
    return told
