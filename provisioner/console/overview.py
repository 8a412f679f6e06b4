"""The content of the console's first page. The number of queries does not depend on the size of the
pool.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, FloatField, Q, QuerySet, Sum
from django.db.models.functions import Cast
from django.urls import reverse

from events.models import Event
from inventory.models import Backend, Host, Liveness, Ssd
from inventory.sample_selectors import CapacityTrend, capacity_trend
from provisioner.common import clock
from provisioner.common.display import tone
from provisioner.common.tenancy import of_tenant
from provisioner.console.attention import Attention, attention_list, tenant_attention_list
from tasks.models import ACTIVE, Task
from tasks.selectors import COLUMNS, seconds_left, task_pending_reason
from volumes.health import PoolHealth, pool_health
from volumes.health_selectors import pool_counts_cache, volume_counts
from volumes.models import Tenant, Volume

TASKS_SHOWN = 8
TENANTS_SHOWN = 4
EVENTS_SHOWN = 8


@dataclass(frozen=True)
class Capacity:
    """The capacity of all present SSDs, in bytes.

    ``reserved``: reserved for volumes and snapshots. ``free``: free on nodes where new volumes can
    be placed. ``barred``: free on nodes that are Unavailable, cordoned or being drained.
    """

    total: int
    reserved: int
    free: int

    @property
    def barred(self) -> int:
        return self.total - self.reserved - self.free

    @property
    def percent(self) -> float:
        return 100 * self.reserved / self.total if self.total else 0.0


@dataclass(frozen=True)
class Throughput:
    """IOPS and bytes per second: the totals of all nodes, and the parts that volumes reserve."""

    total_iops: int
    used_iops: int
    total_bw: int
    used_bw: int


@dataclass(frozen=True)
class Number:
    """The number of objects in a state, and the link to their list."""

    state: str
    number: int
    link: str

    @property
    def tone(self) -> str:
        return tone(self.state)


@dataclass(frozen=True)
class Numbers:
    """The objects of a kind by state, the worst state first. ``link``: the list of all objects."""

    title: str
    link: str
    by_state: list[Number]

    @property
    def total(self) -> int:
        return sum(one.number for one in self.by_state)


@dataclass(frozen=True)
class ActiveTask:
    """A task that has not ended. ``seconds_left`` is None if it is unknown."""

    task_id: str
    type: str
    state: str
    progress: float
    volume: str
    seconds_left: int | None
    pending_reason: str
    rate: int | None


@dataclass(frozen=True)
class Overview:
    """The content of the page. ``capacity``, ``throughput`` and ``trend`` concern the pool; they
    are None for users of a tenant.

    ``tasks``: the latest of the ``tasks_active`` tasks that have not ended. ``tenants``: tenants
    with a budget, the fullest first. ``events``: the latest first.
    """

    health: PoolHealth
    capacity: Capacity | None
    throughput: Throughput | None
    trend: CapacityTrend | None
    numbers: list[Numbers]
    tasks: list[ActiveTask]
    tasks_active: int
    attention: list[Attention]
    tenants: list[Tenant]
    events: list[Event]


def overview_read(tenant_id: str | None = None) -> Overview:
    """Read the content of the page. The health of volumes may be a few seconds old, as in ``GET
    /info``.

    ``tenant_id``: the tenant of the user. Then the page shows only objects of this tenant. None:
    the user belongs to no tenant.
    """
    if tenant_id is not None:
        return _overview_of(tenant_id)
    found = pool_counts_cache.get()
    capacity = capacity_read()
    hosts = _host_numbers()
    return Overview(
        health=found.health,
        capacity=capacity,
        throughput=_throughput(),
        trend=capacity_trend(),
        numbers=[
            _numbers("Volumes", Volume, "health", found.volumes),
            _numbers("Nodes", Backend, "health", found.nodes),
            _numbers("Hosts", Host, "state", hosts),
        ],
        tasks=_tasks(_active_tasks(None)),
        tasks_active=_active_tasks(None).count(),
        attention=attention_list(found.volumes, capacity.percent),
        tenants=_fullest_tenants(None),
        events=_last_events(None),
    )


def _overview_of(tenant_id: str) -> Overview:
    volumes = volume_counts(tenant_id)
    return Overview(
        health=pool_health(volumes, {}),
        capacity=None,
        throughput=None,
        trend=None,
        numbers=[_numbers("Volumes", Volume, "health", volumes)],
        tasks=_tasks(_active_tasks(tenant_id)),
        tasks_active=_active_tasks(tenant_id).count(),
        attention=tenant_attention_list(volumes, tenant_id),
        tenants=_fullest_tenants(tenant_id),
        events=_last_events(tenant_id),
    )


def _active_tasks(tenant_id: str | None) -> QuerySet[Task]:
    return of_tenant(Task.objects.filter(state__in=sorted(ACTIVE)), tenant_id)


def _last_events(tenant_id: str | None) -> list[Event]:
    return list(of_tenant(Event.objects.order_by("-number"), tenant_id)[:EVENTS_SHOWN])


def capacity_read() -> Capacity:
    """Read the capacity of the pool in one query."""
    takes_volumes = Q(backend__available_until__gte=clock.now(), backend__in_use=True)
    free = F("capacity_bytes") - F("used_bytes")
    sums = Ssd.objects.filter(present=True).aggregate(
        total=Sum("capacity_bytes", default=0),
        reserved=Sum("used_bytes", default=0),
        free=Sum(free, filter=takes_volumes, default=0),
    )
    return Capacity(**sums)


def _throughput() -> Throughput:
    names = ("total_iops", "used_iops", "total_bw", "used_bw")
    return Throughput(**Backend.objects.aggregate(**{n: Sum(n, default=0) for n in names}))


def _numbers(title: str, model: type[Any], field: str, found: Mapping[Any, int]) -> Numbers:
    page = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    by_state = [Number(str(s), n, f"{page}?{field}={s}") for s, n in found.items() if n]
    return Numbers(title, page, by_state)


def _host_numbers() -> dict[str, int]:
    up = Q(available_until__gte=clock.now())
    silent, available = Liveness.UNAVAILABLE.value, Liveness.AVAILABLE.value
    return Host.objects.aggregate(
        **{silent: Count("pk", filter=~up), available: Count("pk", filter=up)}
    )


def _fullest_tenants(tenant_id: str | None) -> list[Tenant]:
    limited = of_tenant(Tenant.objects.filter(capacity_bytes__gt=0), tenant_id)
    return list(
        limited.order_by(-F("used_bytes") / Cast("capacity_bytes", FloatField()), "name")[
            :TENANTS_SHOWN
        ]
    )


def _tasks(active: QuerySet[Task]) -> list[ActiveTask]:
    latest = active.order_by("-created_at", "pk")
    rows = list(latest.values(*COLUMNS, "volume_id")[:TASKS_SHOWN])
    of_tasks = Volume.objects.filter(uuid__in=[row["volume_id"] for row in rows])
    aliases = dict(of_tasks.values_list("uuid", "alias"))
    return [
        ActiveTask(
            task_id=row["task_id"],
            type=row["type"],
            state=row["state"],
            progress=row["progress"],
            volume=aliases.get(row["volume_id"], row["volume_id"]),
            seconds_left=seconds_left(row),
            pending_reason=task_pending_reason(row),
            rate=row["bytes_per_second"],
        )
        for row in rows
    ]
