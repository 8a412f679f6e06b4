"""Owner records: the facts about a replica or snapshot that its node stores. Recovery restores rows
from them.
"""

import json
from functools import cache
from typing import Any

from django.db import connection

from inventory.nodes.wire import Owner
from inventory.services.pool.identity import pool_identity
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
"""Lists of any length that clients set. They are omitted if all facts together exceed MORE_BYTES.
"""
MORE_BYTES = 4096
OUTDATED = (ReplicaState.MISSING, ReplicaState.SYNCHRONIZING)


def replica_owner(volume: Volume, replica: Replica) -> Owner:
    """Return the owner record of a replica.

    ``complete`` follows the rows. The new replica of a one-replica volume stays ``rebuilding``
    until it takes over; its saga sets ``complete`` on the node when the copy is done
    (``sagas/replace_replica/fill.py``).
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
    """Return the owner record of a snapshot.

    It does not contain the volume of the snapshot, because the node's spec of the snapshot names
    the volume.
    """
    percent = snapshot.reserved_space_percentage
    return Owner(
        pool=pool_uuid(),
        tenant=snapshot.tenant_id,
        volume=snapshot.replica.uuid,
        alias=snapshot.alias,
        more={"reserved_space_percentage": percent},
    )


def pool_uuid() -> str:
    """Return the pool's uuid. It never changes, so each process reads it once."""
    return _pool_uuid(str(connection.settings_dict["NAME"]))


@cache
def _pool_uuid(database: str) -> str:
    return pool_identity().uuid


def _more(volume: Volume) -> dict[str, Any]:
    told = {name: getattr(volume, name) for name in (*TOLD, *PLACES)}
    if len(json.dumps(told)) > MORE_BYTES:
        told = {name: told[name] for name in TOLD}
    return told
