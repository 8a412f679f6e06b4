"""Read the health of volumes and of the pool, for pages, filters and counts.

:func:`volumes_with_health` expresses the rules of :mod:`volumes.health` in SQL.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from django.db.models import (
    Case,
    CharField,
    Count,
    Exists,
    F,
    OuterRef,
    Q,
    QuerySet,
    TextChoices,
    Value,
    When,
)

from inventory.health import NodeHealth, node_health
from inventory.models import Backend
from provisioner.common import clock
from provisioner.common.models import LifeState
from provisioner.common.tenancy import of_tenant
from tasks.selectors import volumes_progress
from volumes.health import Health, PoolHealth, VolumeHealth, pool_health, volume_health
from volumes.models import Publication, ReplicaState, Volume
from volumes.read_models import VolumeAndReplicas
from volumes.selectors import volumes_visible

H = TypeVar("H", bound=TextChoices)
HEALTH_SECONDS = 5.0
WHOLE = Q(replicas__state=LifeState.READY, replicas__rebuilding=False)
OURS = Q(replicas__state=LifeState.CREATING) | Q(
    replicas__state=LifeState.READY, replicas__rebuilding=True, num_replicas__gt=1
)
"""Replicas that clients see and that are being created, or rebuilt by a copy between nodes."""
LOST = Q(replicas__replica_state__in=[ReplicaState.MISSING, ReplicaState.TERMINATING])


def volume_healths(rows: Iterable[VolumeAndReplicas]) -> dict[int, VolumeHealth]:
    """Return the health of a page's volumes, by key.

    It makes no query, or one if some volumes are Rebuilding.
    """
    now = clock.now()
    found = {v.id: (v.uuid, volume_health(v, replicas, now)) for v, replicas in rows}
    rebuilding = [uuid for uuid, one in found.values() if one.health is Health.REBUILDING]
    progress = volumes_progress(rebuilding) if rebuilding else {}
    return {key: one._replace(rebuild=progress.get(uuid)) for key, (uuid, one) in found.items()}


def volumes_with_health() -> QuerySet[Any]:
    """Return all visible volumes, annotated with ``health``."""
    now = clock.now()
    node = "replicas__backend__"
    up = Q(**{f"{node}available_until__gte": now})
    silent = Q(**{f"{node}available_until__lt": now})
    not_asked = silent & Q(**{f"{node}polled_at__lt": F(f"{node}available_until")})
    published = Publication.objects.filter(volume=OuterRef("pk"))
    rows = volumes_visible(None).order_by()
    rows = rows.alias(
        published=Exists(published),
        known=_replicas(WHOLE, ReplicaState.AVAILABLE),
        available=_replicas(WHOLE & up, ReplicaState.AVAILABLE),
        unknown=_replicas(WHOLE & up, ReplicaState.UNKNOWN),
        synchronizing=_replicas(WHOLE & up, ReplicaState.SYNCHRONIZING),
        available_later=_replicas(WHOLE & not_asked, ReplicaState.AVAILABLE),
        unknown_later=_replicas(WHOLE & not_asked, ReplicaState.UNKNOWN),
        ours=Count("replicas", filter=OURS & up & ~LOST),
    )
    rows = rows.alias(
        current=Case(When(known=0, then="unknown"), default="available"),
        later=Case(When(known=0, then="unknown_later"), default="available_later"),
    )
    return rows.annotate(health=_health())


def _replicas(condition: Q, state: ReplicaState) -> Count:
    return Count("replicas", filter=condition & Q(replicas__replica_state=state))


def _health() -> Case:
    by_host = Q(synchronizing__gt=0) | Q(known__gt=0, unknown__gt=0)
    return Case(
        When(current__gte=F("num_replicas"), then=Value(Health.HEALTHY)),
        When(
            Q(later__gt=0) & (Q(current=0) | Q(later__gte=F("num_replicas") - F("current"))),
            then=Value(Health.UNKNOWN),
        ),
        When(current=0, then=Value(Health.FAULTED)),
        When(Q(ours__gt=0) | (Q(published=True) & by_host), then=Value(Health.REBUILDING)),
        default=Value(Health.DEGRADED),
        output_field=CharField(),
    )


def volumes_of_health(rows: QuerySet[Volume], health: str) -> QuerySet[Volume]:
    """Keep the volumes that have this health."""
    return rows.filter(pk__in=volumes_with_health().filter(health=health).values("pk"))


def volume_numbers(tenant_id: str | None = None) -> dict[Health, int]:
    """Return the number of volumes by health, of all tenants or of one, in one query."""
    return _numbers(of_tenant(volumes_with_health(), tenant_id), Health)


def node_numbers() -> dict[NodeHealth, int]:
    """Return the number of nodes by health, in one query."""
    return _numbers(Backend.objects.order_by().annotate(health=node_health()), NodeHealth)


def _numbers(rows: QuerySet[Any], of: type[H]) -> dict[H, int]:
    numbers = {str(health): Count("pk", filter=Q(health=health)) for health in of}
    found = rows.aggregate(**numbers)
    return {health: found[str(health)] for health in of}


class PoolNumbers(NamedTuple):
    """The numbers of volumes and nodes by health."""

    volumes: Mapping[Health, int]
    nodes: Mapping[NodeHealth, int]

    @property
    def health(self) -> PoolHealth:
        """The health of the pool that follows from the numbers."""
        return pool_health(self.volumes, self.nodes)


class PoolNumbersCache:
    """A cache of the numbers, because reading them reads every volume. While one caller reads them
    again, others get the cached ones.
    """

    def __init__(self) -> None:
        self.until = 0.0
        self.found: PoolNumbers | None = None

    def get(self) -> PoolNumbers:
        """Return the numbers, not older than HEALTH_SECONDS unless they are being read now."""
        if self.found is None or time.monotonic() >= self.until:
            self.until = time.monotonic() + HEALTH_SECONDS
            self.found = PoolNumbers(volume_numbers(), node_numbers())
        return self.found

    def forget(self) -> None:
        """Drop the cached value."""
        self.found = None


pool_numbers_cache = PoolNumbersCache()
