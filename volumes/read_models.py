"""Volumes as clients see them. Lists are frequent calls, so they are read as plain rows, in three
queries.
"""

import datetime as dt
from functools import cache
from typing import Any, NamedTuple

from django.db.models import QuerySet

from provisioner.common.compiled import Compiled, keys
from provisioner.common.models import LifeState
from volumes.models import Publication, Replica, Volume
from volumes.selectors import LIVE, volumes_visible


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
PUBLICATIONS = Compiled(
    lambda: (
        Publication.objects.filter(volume_id__among=keys("volumes"))
        .order_by()
        .values_list("volume_id", "exports__replica_id", "exports__state")
    )
)
"""Publications by volume, with the replicas and states of their exports. Publications of ``Local``
volumes have no exports.
"""
REPLICAS = Compiled(
    lambda: Replica.objects.filter(LIVE, volume_id__among=keys("volumes")).values_list(
        *REPLICA_COLUMNS
    )
)


def volumes_listed(tenant_id: str | None) -> QuerySet[Volume, tuple[Any, ...]]:
    """Return the volumes that clients see, or those of one tenant, for :func:`volume_rows`."""
    return _all_listed() if tenant_id is None else _all_listed().filter(tenant_id=tenant_id)


@cache  # naming the columns takes longer than reading them
def _all_listed() -> QuerySet[Volume, tuple[Any, ...]]:
    return volumes_visible(None).values_list(*VOLUME_COLUMNS)


def volume_rows(rows: QuerySet[Volume, tuple[Any, ...]]) -> list[VolumeAndReplicas]:
    """Return the volumes, which are some of :func:`volumes_listed`, each with its replicas.

    Publications are read in a separate query. In the query for volumes, PostgreSQL would read all
    publications for each page.
    """
    volumes = list(rows)
    of_these = [row[0] for row in volumes]
    published: set[int] = set()
    exports: dict[int, set[str]] = {}
    for volume, replica, state in PUBLICATIONS.rows(volumes=of_these):
        published.add(volume)
        exports.setdefault(replica, set()).add(state)
    replicas: dict[int, list[ReplicaRow]] = {key: [] for key in of_these}
    for row in REPLICAS.rows(volumes=of_these):
        states = exports.get(row[1], ())
        exported, exporting = LifeState.READY in states, LifeState.CREATING in states
        replicas[row[0]].append(ReplicaRow._make((*row, exported, exporting)))
    return [
        (volume, _visible(volume, replicas[volume.id]))
        for volume in (VolumeRow._make((*row, row[0] in published)) for row in volumes)
    ]


def _visible(volume: VolumeRow, replicas: list[ReplicaRow]) -> list[ReplicaRow]:
    """Return those of the live replicas that VISIBLE keeps. As a condition of the query, VISIBLE
    would read all the volumes again, which is a third of the database's work for a page.
    """
    if volume.num_replicas > 1:
        return replicas
    return [replica for replica in replicas if not replica.rebuilding]
