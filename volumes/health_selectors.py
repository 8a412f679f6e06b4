"""Read the health of volumes and of the pool, for pages, filters and counts.

:func:`volumes_with_health` expresses the rules of :mod:`volumes.health` in SQL.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from django.db.models import (
    Case,
    CharField,
    Count,
    Exists,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextChoices,
    Value,
    When,
)
from django.db.models.functions import Coalesce

from inventory.health import NodeHealth, node_health
from inventory.models import Backend
from provisioner.common import clock
from provisioner.common.database import release_connection
from provisioner.common.models import LifeState
from provisioner.common.tenancy import of_tenant
from tasks.selectors import volumes_progress
from volumes.health import REBUILDING, Health, PoolHealth, VolumeHealth, pool_health, volume_health
from volumes.models import Publication, Replica, ReplicaState, Volume
from volumes.read_models import VolumeAndReplicas
from volumes.selectors import volumes_visible

H = TypeVar("H", bound=TextChoices)
HEALTH_SECONDS = 5.0
READING_FACTOR = 20
"""A process reads the numbers of the pool at most a twentieth of the time. A million volumes take
several seconds.
"""
MAX_KEYS = 10_000
"""The greatest number of keys that are in memory while the volumes of one health are listed."""
WHOLE = Q(state=LifeState.READY, rebuilding=False)
IN_PROGRESS = Q(state=LifeState.CREATING) | Q(
    state=LifeState.READY, rebuilding=True, volume__num_replicas__gt=1
)
"""A replica that clients see and that is being created, or rebuilt by a copy between nodes."""
LOST = Q(replica_state__in=[ReplicaState.MISSING, ReplicaState.TERMINATING])


def volume_healths(
    rows: Sequence[VolumeAndReplicas], *, before_query: Callable[[], None] = lambda: None
) -> dict[int, VolumeHealth]:
    """Return the health of the volumes of a page, by key. If some of them are Rebuilding, it calls
    ``before_query`` and makes one query.
    """
    now = clock.now()
    found = {v.id: volume_health(v, replicas, now) for v, replicas in rows}
    rebuilding = {v.uuid: v.id for v, _ in rows if found[v.id].health is REBUILDING}
    if rebuilding:
        before_query()
        for uuid, rebuild in volumes_progress(rebuilding).items():
            found[rebuilding[uuid]] = found[rebuilding[uuid]]._replace(rebuild=rebuild)
    return found


def volumes_with_health() -> QuerySet[Any]:
    """Return all visible volumes, annotated with ``health``."""
    return volumes_visible(None).order_by().annotate(health=_health())


def volumes_of_health(rows: QuerySet[Volume], health: str) -> QuerySet[Volume]:
    """Keep the visible volumes that have this health. Reads first which these are.

    If they are more than MAX_KEYS, the database instead checks one volume after the other until the
    page is full. For a health that hardly any volume has, that would take long.
    """
    keys = _keys_of_health(health)
    if len(keys) <= MAX_KEYS:
        return rows.filter(pk__among=keys)
    return rows.filter(state=LifeState.READY).alias(health=_health()).filter(health=health)


def _keys_of_health(health: str) -> list[int]:
    """Return at least MAX_KEYS + 1 keys of volumes with this health, or all of them if there are
    fewer.
    """
    of_visible = Replica.objects.filter(volume__state=LifeState.READY)
    found = _by_volume(of_visible).filter(health=health).values_list("volume", flat=True)
    keys = list(found[: MAX_KEYS + 1])
    if health == Health.FAULTED:
        without = volumes_visible(None).filter(replicas=None).order_by()
        keys += without.values_list("pk", flat=True)[: MAX_KEYS + 1]
    return keys


def _health() -> Coalesce:
    """The health of a row of :class:`Volume`, as an expression. The volume may have lost all its
    replicas.
    """
    health = _by_volume(Replica.objects.filter(volume=OuterRef("pk"))).values("health")
    return Coalesce(Subquery(health), Value(Health.FAULTED), output_field=CharField())


def _by_volume(replicas: QuerySet[Replica]) -> QuerySet[Any]:
    """Return one row with the health for each volume that has one of the replicas."""
    now = clock.now()
    up, silent = Q(backend__available_until__gte=now), Q(backend__available_until__lt=now)
    not_asked = silent & Q(backend__polled_at__lt=F("backend__available_until"))
    by_volume = replicas.order_by().values("volume")
    counted = by_volume.alias(
        known=_replicas(WHOLE, ReplicaState.AVAILABLE),
        available=_replicas(WHOLE & up, ReplicaState.AVAILABLE),
        unknown=_replicas(WHOLE & up, ReplicaState.UNKNOWN),
        synchronizing=_replicas(WHOLE & up, ReplicaState.SYNCHRONIZING),
        available_later=_replicas(WHOLE & not_asked, ReplicaState.AVAILABLE),
        unknown_later=_replicas(WHOLE & not_asked, ReplicaState.UNKNOWN),
        ours=Count("pk", filter=IN_PROGRESS & up & ~LOST),
    )
    compared = counted.alias(
        current=Case(When(known=0, then="unknown"), default="available"),
        later=Case(When(known=0, then="unknown_later"), default="available_later"),
    )
    return compared.annotate(health=_of_counts())


def _replicas(condition: Q, state: ReplicaState) -> Count:
    return Count("pk", filter=condition & Q(replica_state=state))


def _of_counts() -> Case:
    wanted = F("volume__num_replicas")
    by_host = Q(synchronizing__gt=0) | Q(known__gt=0, unknown__gt=0)
    published = Exists(Publication.objects.filter(volume=OuterRef("volume")))
    return Case(
        When(current__gte=wanted, then=Value(Health.HEALTHY)),
        When(
            Q(later__gt=0) & (Q(current=0) | Q(later__gte=wanted - F("current"))),
            then=Value(Health.UNKNOWN),
        ),
        When(current=0, then=Value(Health.FAULTED)),
        When(Q(ours__gt=0) | (by_host & Q(published)), then=Value(Health.REBUILDING)),
        default=Value(Health.DEGRADED),
        output_field=CharField(),
    )


def volume_counts(tenant_id: str | None = None) -> dict[Health, int]:
    """Return the number of volumes by health, of all tenants or of one, in two queries."""
    visible = of_tenant(Replica.objects.filter(volume__state=LifeState.READY), tenant_id)
    numbers = _numbers(_by_volume(visible), Health)
    numbers[Health.FAULTED] += volumes_visible(tenant_id).filter(replicas=None).count()
    return numbers


def node_counts() -> dict[NodeHealth, int]:
    """Return the number of nodes by health, in one query."""
    return _numbers(Backend.objects.order_by().annotate(health=node_health()), NodeHealth)


def _numbers(rows: QuerySet[Any], of: type[H]) -> dict[H, int]:
    numbers = {str(health): Count("health", filter=Q(health=health)) for health in of}
    found = rows.aggregate(**numbers)
    return {health: found[str(health)] for health in of}


class PoolCounts(NamedTuple):
    """The numbers of volumes and of nodes, by health."""

    volumes: Mapping[Health, int]
    nodes: Mapping[NodeHealth, int]

    @property
    def health(self) -> PoolHealth:
        """The health of the pool that follows from these numbers."""
        return pool_health(self.volumes, self.nodes)


class PoolCountsCache:
    """A cache of the numbers, because reading them reads every volume. One thread at a time reads
    them again, and other threads get the cached numbers meanwhile.
    """

    def __init__(self) -> None:
        self._until = 0.0
        self._found: PoolCounts | None = None
        self._reading = threading.Lock()

    def get(self) -> PoolCounts:
        """Return the numbers. They are at most HEALTH_SECONDS old or, if reading them takes long,
        READING_FACTOR times as long.
        """
        found = self._found
        if found is not None and self._is_fresh():
            return found
        if found is None:
            release_connection()  # the thread that reads needs one
        if not self._reading.acquire(blocking=found is None):
            return cast("PoolCounts", found)
        try:
            if self._found is None or not self._is_fresh():
                began = time.monotonic()
                self._found = PoolCounts(volume_counts(), node_counts())
                ended = time.monotonic()
                self._until = ended + max(HEALTH_SECONDS, READING_FACTOR * (ended - began))
            return self._found
        finally:
            self._reading.release()

    def _is_fresh(self) -> bool:
        return time.monotonic() < self._until

    def forget(self) -> None:
        """Clear the cache."""
        self._found = None


pool_counts_cache = PoolCountsCache()
