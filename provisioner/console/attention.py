"""Problems that need the attention of an operator, the most serious first. Each has a link to the
page where it can be solved.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.utils import quote
from django.db.models import Count, F, Q, QuerySet
from django.urls import reverse

from inventory.health import CLOCK_SECONDS, NodeHealth, node_health, node_health_reason
from inventory.models import Backend, Host, License
from inventory.services.pool.identity import database_doubt
from provisioner.common import clock
from provisioner.common.display import size, span
from provisioner.common.tenancy import of_tenant
from tasks.models import Task, TaskState
from volumes.health import Health
from volumes.models import Drain, Orphan, ReplicaRelocation, Tenant

NODES_SHOWN = 5
FULL_PERCENT = 80
BUDGET_PERCENT = 90
LICENCE_DAYS = 30
FAILED_HOURS = 24
TONES = ("danger", "warning", "info")


@dataclass(frozen=True)
class Attention:
    """One problem. ``tone``: danger, warning or info."""

    tone: str
    title: str
    text: str
    link: str


def attention_list(volumes: Mapping[Health, int], percent: float) -> list[Attention]:
    """Return the problems of the pool. ``volumes``: the number of volumes by health. ``percent``:
    the share of the pool's capacity that is reserved.
    """
    found = [
        *_database(),
        *_volumes(volumes),
        *_nodes(),
        *_hosts(),
        *_tasks(None),
        *_drains(),
        *_capacity(percent),
        *_tenants(None),
        *_orphans(),
        *_licence(),
    ]
    return _worst_first(found)


def tenant_attention_list(volumes: Mapping[Health, int], tenant_id: str) -> list[Attention]:
    """Return the problems of one tenant, for its users. ``volumes``: the number of its volumes by
    health.
    """
    return _worst_first([*_volumes(volumes), *_tasks(tenant_id), *_tenants(tenant_id)])


def _worst_first(found: list[Attention]) -> list[Attention]:
    return sorted(found, key=lambda one: TONES.index(one.tone))


def _database() -> Iterator[Attention]:
    if doubt := database_doubt():
        yield Attention("danger", "Writes are barred", doubt, _list("inventory.pool"))


def _volumes(numbers: Mapping[Health, int]) -> Iterator[Attention]:
    texts = {
        Health.FAULTED: ("danger", "no replica can be reached"),
        Health.DEGRADED: ("warning", "redundancy is lost, the data is available"),
        Health.UNKNOWN: ("warning", "their silent nodes have not been called yet"),
    }
    for health, (tone, text) in texts.items():
        if number := numbers.get(health, 0):
            link = _list("volumes.volume", health=health.value)
            yield Attention(tone, f"{_count(number, 'volume')} {health.value}", text, link)


def _nodes() -> Iterator[Attention]:
    now = clock.now()
    nodes: QuerySet[Any] = Backend.objects.annotate(
        health=node_health(now), drained_since=F("drain__started_at")
    )
    silent = nodes.filter(health=NodeHealth.UNAVAILABLE).order_by("name")
    shown = list(silent[: NODES_SHOWN + 1])
    for node in shown[:NODES_SHOWN]:
        reason = node_health_reason(node, node.health, node.drained_since, now)
        link = reverse("admin:inventory_backend_change", args=[quote(node.pk)])
        yield Attention("danger", f"Node {node.name} is Unavailable", reason, link)
    if len(shown) > NODES_SHOWN:
        link = _list("inventory.backend", health=NodeHealth.UNAVAILABLE.value)
        yield Attention("danger", "More nodes are Unavailable", "see the list", link)
    wrong = Q(clock_ahead_seconds__gt=CLOCK_SECONDS) | Q(clock_ahead_seconds__lt=-CLOCK_SECONDS)
    for node in nodes.filter(wrong).exclude(pk__in=[one.pk for one in shown])[:NODES_SHOWN]:
        reason = node_health_reason(node, node.health, node.drained_since, now)
        link = reverse("admin:inventory_backend_change", args=[quote(node.pk)])
        yield Attention("warning", f"The clock of node {node.name} is wrong", reason, link)


def _hosts() -> Iterator[Attention]:
    silent = Host.objects.filter(available_until__lt=clock.now(), publications__isnull=False)
    if number := silent.distinct().count():
        text = "hosts with published volumes that send no probes"
        link = _list("inventory.host", state="Unavailable")
        yield Attention("warning", f"{_count(number, 'host')} Unavailable", text, link)


def _tasks(tenant_id: str | None) -> Iterator[Attention]:
    since = clock.now() - dt.timedelta(hours=FAILED_HOURS)
    failed = of_tenant(Task.objects.filter(state=TaskState.FAILED, ended_at__gte=since), tenant_id)
    if number := failed.count():
        last = failed.latest("ended_at")
        text = f"the latest: {last.type}, {last.description or last.task_status}"
        link = _list("tasks.task", state__exact="FAILED")
        yield Attention("warning", f"{_count(number, 'task')} failed since yesterday", text, link)


def _drains() -> Iterator[Attention]:
    drains = Drain.objects.select_related("backend").annotate(left=Count("backend__replicas"))
    for drain in drains.order_by("started_at")[:NODES_SHOWN]:
        text = f"{drain.left} of {drain.replicas_before} replicas are left"
        title = f"Node {drain.backend.name} is being drained"
        yield Attention("info", title, text, _list("volumes.drain"))
    if number := ReplicaRelocation.objects.exclude(refusal="").count():
        text = "they are tried again; the list shows the reasons"
        link = _list("volumes.replicarelocation")
        yield Attention("warning", f"{_count(number, 'replica')} cannot move", text, link)


def _capacity(percent: float) -> Iterator[Attention]:
    if percent >= FULL_PERCENT:
        text = "add nodes or drives, or delete volumes"
        title = f"The pool is {percent:.0f} % full"
        yield Attention("warning", title, text, _list("inventory.backend"))


def _tenants(tenant_id: str | None) -> Iterator[Attention]:
    limit = F("capacity_bytes") * BUDGET_PERCENT / 100
    crowded = of_tenant(
        Tenant.objects.filter(capacity_bytes__gt=0, used_bytes__gte=limit), tenant_id
    )
    for tenant in crowded.order_by("name")[:NODES_SHOWN]:
        text = f"{size(tenant.used_bytes)} of {size(tenant.capacity_bytes)} are used"
        link = reverse("admin:volumes_tenant_change", args=[quote(tenant.pk)])
        yield Attention("warning", f"The budget of {tenant.name} is nearly used up", text, link)


def _orphans() -> Iterator[Attention]:
    if number := Orphan.objects.filter(kept=True).count():
        text = "objects that the database does not know; manage.py orphans adopts or discards them"
        link = _list("volumes.orphan", kept__exact="1")
        yield Attention("warning", f"{_count(number, 'orphan')} wait for a decision", text, link)


def _licence() -> Iterator[Attention]:
    now, link = clock.now(), _list("inventory.license")
    ending = License.objects.filter(expires_at__lte=now + dt.timedelta(days=LICENCE_DAYS))
    for expires_at in ending.values_list("expires_at", flat=True):
        if expires_at is not None and expires_at <= now:
            yield Attention("danger", "The licence has expired", "install another", link)
        elif expires_at is not None:
            title = f"The licence expires in {span(expires_at - now)}"
            yield Attention("warning", title, "install another", link)


def _list(model: str, **filters: str) -> str:
    page = reverse(f"admin:{model.replace('.', '_')}_changelist")
    return page + "".join(f"?{name}={value}" for name, value in filters.items())


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
