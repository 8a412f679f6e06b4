"""Volumes as clients see them: plain rows in four queries, since pages of them are hot calls."""

import datetime as dt
from collections.abc import Collection
from typing import NamedTuple

from django.db.models import QuerySet

from provisioner.common.models import LifeState
from volumes.models import Export, Publication, Replica, Volume
from volumes.selectors import LIVE, SHOWN


class ReplicaShown(NamedTuple):
    """``exported`` to a host; ``exporting``: a node is still to do so."""

    volume_id: int
    id: int
    uuid: str
    backend_id: str | None
    replica_state: str
    replica_state_since: dt.datetime
    filling: bool
    state: str
    exported: bool
    exporting: bool


class VolumeShown(NamedTuple):
    """``published`` to some host."""

    id: int
    uuid: str
    alias: str
    tenant_id: str
    capacity_bytes: int
    growing_to_bytes: int | None
    claimed_bytes: int
    provisioning_type: str
    num_replicas: int
    max_iops_per_gb: int
    desired_iops_per_gb: int
    max_bw_per_gb: int
    desired_bw_per_gb: int
    block_size: int
    max_replica_down_minutes: int
    protocol: str
    allow_span: bool
    share_ssd: bool
    storage_class_name: str
    writable: bool
    cloned_from: str
    state: str
    snapshot__uuid: str | None
    published: bool


REPLICA_COLUMNS = ReplicaShown._fields[:-2]
VOLUME_COLUMNS = VolumeShown._fields[:-1]
Shown = tuple[VolumeShown, list[ReplicaShown]]


def volumes_shown(rows: QuerySet[Volume]) -> list[Shown]:
    """The volumes, each with its replicas.

    One query for each table: asked with the volumes whether there is a publication, PostgreSQL
    reads all publications for each page.
    """
    volumes = list(rows.values_list(*VOLUME_COLUMNS))
    keys = [row[0] for row in volumes]
    publications = Publication.objects.filter(volume_id__among=keys).order_by()
    published = set(publications.values_list("volume_id", flat=True))
    replicas = _replicas(keys)
    return [
        (VolumeShown._make([*row, row[0] in published]), replicas.get(row[0], []))
        for row in volumes
    ]


def _replicas(volume_keys: Collection[int]) -> dict[int, list[ReplicaShown]]:
    """By volume."""
    shown = Replica.objects.filter(SHOWN, volume_id__among=volume_keys)
    rows = list(shown.values_list(*REPLICA_COLUMNS))
    states: dict[int, set[str]] = {}
    keys = [row[1] for row in rows]
    exports = Export.objects.filter(LIVE, replica_id__among=keys, for_copy=False).order_by()
    for key, state in exports.values_list("replica_id", "state"):
        states.setdefault(key, set()).add(state)
    found: dict[int, list[ReplicaShown]] = {}
    for row in rows:
        of_exports = states.get(row[1], ())
        exported, exporting = LifeState.READY in of_exports, LifeState.CREATING in of_exports
        replica = ReplicaShown._make([*row, exported, exporting])
        found.setdefault(replica.volume_id, []).append(replica)
    return found
