"""Volumes as clients see them: plain rows in two queries, since pages of them are hot calls."""

import datetime as dt
from collections.abc import Collection
from typing import NamedTuple

from django.db.models import Exists, OuterRef, QuerySet

from provisioner.common.models import LifeState
from volumes.models import Export, Publication, Replica, Volume
from volumes.selectors import SHOWN


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


Shown = tuple[VolumeShown, list[ReplicaShown]]


def volumes_shown(rows: QuerySet[Volume]) -> list[Shown]:
    """The volumes, each with its replicas."""
    published = Exists(Publication.objects.filter(volume=OuterRef("pk")))
    columns = rows.annotate(published=published).values_list(*VolumeShown._fields)
    volumes = [VolumeShown._make(row) for row in columns]
    replicas: dict[int, list[ReplicaShown]] = {volume.id: [] for volume in volumes}
    for replica in _replicas(replicas):
        replicas[replica.volume_id].append(replica)
    return [(volume, replicas[volume.id]) for volume in volumes]


def _replicas(volume_ids: Collection[int]) -> list[ReplicaShown]:
    exports = Export.objects.filter(replica=OuterRef("pk"), for_copy=False)
    rows = Replica.objects.filter(SHOWN, volume__in=volume_ids).annotate(
        exported=Exists(exports.filter(state=LifeState.READY)),
        exporting=Exists(exports.filter(state=LifeState.CREATING)),
    )
    return [ReplicaShown._make(row) for row in rows.values_list(*ReplicaShown._fields)]
