"""Owner records: the facts about a replica or snapshot that its node stores. Recovery restores rows
from them.
"""

import datetime as dt
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
INCOMPLETE_SINCE = "incomplete_since"
"""The time of the state that made the data of a replica incomplete. Complete replicas have none."""
OUTDATED = (ReplicaState.MISSING, ReplicaState.SYNCHRONIZING)


def replica_owner(volume: Volume, replica: Replica) -> Owner:
    """Return the owner record of a replica.

    ``complete`` follows the rows. A record that is not complete has the time of the state. The new
    replica of a one-replica volume stays ``rebuilding`` until it takes over; its saga sets
    ``complete`` on the node when the copy is done (``sagas/replace_replica/fill.py``).
    """
    is_complete = not replica.rebuilding and replica.replica_state not in OUTDATED
    since = replica.replica_state_since.astimezone(dt.UTC).isoformat()
    return Owner(
        pool=pool_uuid(),
        tenant=volume.tenant_id,
        volume=volume.uuid,
        alias=volume.alias,
        complete=is_complete,
        more=_more(volume, {} if is_complete else {INCOMPLETE_SINCE: since}),
    )


def owner_as_complete(owner: Owner) -> Owner:
    """Return the record that the replica has when its data is complete."""
    more = {name: value for name, value in owner.more.items() if name != INCOMPLETE_SINCE}
    return owner.model_copy(update={"complete": True, "more": more})


def is_newer_than_row(owner: Owner, replica: Replica) -> bool:
    """Whether the record says that the data became incomplete after the state in the row. Then the
    row may come from an older database. A record of an older version has no time.
    """
    try:
        since = dt.datetime.fromisoformat(str(owner.more.get(INCOMPLETE_SINCE)))
        return not owner.complete and since > replica.replica_state_since
    except (ValueError, TypeError):
        return False


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


def _more(volume: Volume, state: dict[str, str]) -> dict[str, Any]:
    told = state | {name: getattr(volume, name) for name in (*TOLD, *PLACES)}
    if len(json.dumps(told)) > MORE_BYTES:
        told = {name: value for name, value in told.items() if name not in PLACES}
    return told
