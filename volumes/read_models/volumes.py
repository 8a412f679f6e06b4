"""Volumes as clients see them. Lists are frequent calls, so they are read as plain rows in one
statement, which is compiled once for each kind of page.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from django.db.models import (
    BooleanField,
    FilteredRelation,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
)
from django.db.models.functions import Coalesce

from provisioner.common.compiled import Compiled, text, unindexed
from provisioner.common.models import LifeState
from provisioner.common.pagination import Page
from volumes.models import Publication, Volume
from volumes.selectors import volumes_filter, volumes_visible

WHOLE = Page()


class ReplicaRow(NamedTuple):
    """A replica, as lists show it.

    ``exported``: its node exports it to a host. ``exporting``: its node must still export it. The
    node is Available until ``backend__available_until``, and was last polled at
    ``backend__polled_at``; both are None if the node was removed by force.
    """

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


VOLUME_COLUMNS = VolumeRow._fields
REPLICA_COLUMNS = ReplicaRow._fields[:-2]
REPLICA_KEY = len(VOLUME_COLUMNS)
READY, CREATING = LifeState.READY, LifeState.CREATING  # finding a member takes longer than using it
VolumeAndReplicas = tuple[VolumeRow, list[ReplicaRow]]


@dataclass(frozen=True)
class VolumesWanted:
    """Visible volumes. None: any. ``host_id``, ``own_host_id``: published to these hosts.

    A value may be an argument of a compiled statement.
    """

    tenant_id: Any = None
    uuid: Any = None
    alias: Any = None
    backend_id: Any = None
    host_id: Any = None
    own_host_id: Any = None

    def rows(self) -> QuerySet[Volume]:
        """Return the volumes, ordered by uuid."""
        rows = self._of_tenant().order_by("uuid")
        if self.uuid is not None:
            rows = rows.filter(uuid=self.uuid)
        if self.alias is not None:
            rows = rows.filter(alias=self.alias)
        rows = volumes_filter(rows, backend_id=self.backend_id, host_id=self.host_id)
        return volumes_filter(rows, backend_id=None, host_id=self.own_host_id)

    def _of_tenant(self) -> QuerySet[Volume]:
        """Volumes of a node or a host are found by it, and then filtered by tenant."""
        places = (self.backend_id, self.host_id, self.own_host_id)
        if self.tenant_id is None or places == (None, None, None):
            return volumes_visible(self.tenant_id)
        return volumes_visible(None).filter(unindexed("tenant_id", self.tenant_id))

    def read(self, page: Page = WHOLE) -> list[VolumeAndReplicas]:
        """Return a page of the volumes, each with its replicas, in one statement."""
        if page.offset:
            return volume_rows(page.cut(self.rows(), "uuid"))
        values = vars(self) | {"marker": page.marker}
        given = {name: value for name, value in values.items() if value is not None}
        return _grouped(_statement(frozenset(given), page.limit).rows(**given))


@lru_cache(maxsize=64)
def _statement(given: frozenset[str], limit: int | None) -> Compiled:
    """The statement for a page after a marker, with arguments of these names."""
    arguments = {name: text(name) for name in given}
    page = Page(limit, marker=arguments.pop("marker", None))
    return Compiled(lambda: _joined(page.cut(VolumesWanted(**arguments).rows(), "uuid")))


def volume_rows(rows: QuerySet[Volume]) -> list[VolumeAndReplicas]:
    """Return the volumes, each with its replicas, in one statement that is worded anew."""
    return _grouped(_joined(rows))


def _joined(rows: QuerySet[Volume]) -> QuerySet[Volume, tuple[Any, ...]]:
    """One row for each volume, live replica and export, ordered by uuid."""
    of_volume = Publication.objects.filter(volume=OuterRef("pk")).order_by()
    published = Subquery(of_volume.values(found=Value(True))[:1])  # EXISTS would read all of them
    return (
        Volume.objects.filter(pk__in=rows.values("pk"))
        .annotate(
            published=Coalesce(published, False, output_field=BooleanField()),
            live=FilteredRelation("replicas", condition=~Q(replicas__state=LifeState.DELETING)),
        )
        .order_by("uuid", "live__id")
        .values_list(
            *VOLUME_COLUMNS,
            *(f"live__{name}" for name in REPLICA_COLUMNS),
            "live__exports__state",
            "live__exports__publication_id",
        )
    )


def _grouped(rows: Iterable[Any]) -> list[VolumeAndReplicas]:
    """The replicas that VISIBLE keeps, by volume. Exports without a publication are not shown: they
    are for copies, or are being removed.
    """
    found: list[VolumeAndReplicas] = []
    last, replicas = None, list[ReplicaRow]()
    for row in rows:
        if row[0] != last:
            last, replicas = row[0], []
            found.append((VolumeRow._make(row[:REPLICA_KEY]), replicas))
        if row[REPLICA_KEY] is None:
            continue
        state, publication = row[-2:]
        exports = (
            publication is not None and state == READY,
            publication is not None and state == CREATING,
        )
        replica = ReplicaRow._make(row[REPLICA_KEY:-2] + exports)
        if replicas and replicas[-1].id == replica.id:
            before = replicas.pop()
            replica = replica._replace(
                exported=replica.exported or before.exported,
                exporting=replica.exporting or before.exporting,
            )
        if not (replica.rebuilding and found[-1][0].num_replicas == 1):
            replicas.append(replica)
    return found
