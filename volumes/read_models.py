"""Volumes as clients see them. Lists are frequent calls, so they are read as plain rows, in three
queries.
"""

import datetime as dt
from functools import cache
from typing import Any, NamedTuple

from django.db.models import QuerySet

from provisioner.common.models import LifeState
from volumes.models import Publication, Replica, Volume
from volumes.selectors import LIVE


class ReplicaRow(NamedTuple):
    """A replica, as lists show it.

    ``exported``: its node exports it to a host. ``exporting``: its node must still export it. The
    node is Available until ``backend__available_until``, and was last polled at
    ``backend__polled_at``; both are None if the node was removed by force.
    """

    volume_id: int
    id: int
    uuid: str
    backend_id: str | None
    replica_state: str
    replica_state_since: dt.datetime
    rebuilding: bool
    state: str
    backend__available_until: dt.datetime | None
    backend__polled_at: dt.datetime | None
    exported: bool
    exporting: bool


class VolumeRow(NamedTuple):
    """A volume, as lists show it. ``published``: to at least one host."""

    id: int
    uuid: str
    alias: str
    tenant_id: str
    capacity_bytes: int
    expanding_to_bytes: int | None
    claimed_bytes: int
    provisioning_type: str
    num_replicas: int
    replicable: bool
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


REPLICA_COLUMNS = ReplicaRow._fields[:-2]
VOLUME_COLUMNS = VolumeRow._fields[:-1]
VolumeAndReplicas = tuple[VolumeRow, list[ReplicaRow]]


def volume_rows(rows: QuerySet[Volume]) -> list[VolumeAndReplicas]:
    """Return the volumes, each with its replicas.

    Publications are read in a separate query. In the query for volumes, PostgreSQL would read all
    publications for each page.
    """
    volumes = list(rows.values_list(*VOLUME_COLUMNS))
    keys = {row[0] for row in volumes}
    published: set[int] = set()
    exports: dict[int, set[str]] = {}
    for volume, replica, state in _publications().filter(volume_id__among=keys):
        published.add(volume)
        exports.setdefault(replica, set()).add(state)
    replicas: dict[int, list[ReplicaRow]] = {}
    for row in _replicas().filter(volume_id__among=keys):
        states = exports.get(row[1], ())
        exported, exporting = LifeState.READY in states, LifeState.CREATING in states
        shown = ReplicaRow._make([*row, exported, exporting])
        replicas.setdefault(shown.volume_id, []).append(shown)
    return [
        (volume, _visible(volume, replicas.get(volume.id, [])))
        for volume in (VolumeRow._make([*row, row[0] in published]) for row in volumes)
    ]


def _visible(volume: VolumeRow, replicas: list[ReplicaRow]) -> list[ReplicaRow]:
    """Return those of the live replicas that VISIBLE keeps. As a condition of the query, VISIBLE
    would read all the volumes again, which is a third of the database's work for a page.
    """
    if volume.num_replicas > 1:
        return replicas
    return [replica for replica in replicas if not replica.rebuilding]


# cached, because building these queries takes longer than reading the rows of a page


@cache
def _publications() -> QuerySet[Publication, tuple[Any, ...]]:
    """The publications of volumes, with the replicas and states of their exports. Publications of
    ``Local`` volumes have no exports.
    """
    rows = Publication.objects.order_by()
    return rows.values_list("volume_id", "exports__replica_id", "exports__state")


@cache
def _replicas() -> QuerySet[Replica, tuple[Any, ...]]:
    return Replica.objects.filter(LIVE).values_list(*REPLICA_COLUMNS)
