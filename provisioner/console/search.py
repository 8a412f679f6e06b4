"""The search of the console: it finds pages, and objects by name, uuid, NQN or address."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from inventory.models import Backend, Host, Ssd
from provisioner.common.tenancy import of_tenant, tenant_of
from provisioner.console.navigation import pages
from tasks.models import Task
from volumes.models import Replica, Snapshot, Tenant, Volume
from volumes.models.publication import NQN_PREFIX

LONGEST = 255
OF_EACH = 6
MOST = 100


@dataclass(frozen=True)
class Found:
    """A search result. ``icon``: the name of an icon of Material Symbols."""

    title: str
    description: str
    link: str
    icon: str


@dataclass(frozen=True)
class Kind:
    """A kind of objects: how they are found, and how a result is shown."""

    model: type[Model]
    icon: str
    matches: Callable[[str], Q]
    label: Callable[[Any], str]
    target: str = ""
    """The relation to the object whose page is opened instead, if any."""


def _nodes(text: str) -> Q:
    addresses = Q(addresses__address__startswith=text) | Q(portals__ip__startswith=text)
    return Q(name__icontains=text) | Q(pk__iexact=text) | Q(host_id__iexact=text) | addresses


def _hosts(text: str) -> Q:
    of_target = Q(pk__iexact=text.removeprefix(NQN_PREFIX))
    return Q(name__icontains=text) | Q(nqn__icontains=text) | of_target


def _named(text: str) -> Q:
    return Q(alias__icontains=text) | Q(uuid=text.lower())


KINDS = (
    Kind(Volume, "database", _named, lambda row: row.alias),
    Kind(Snapshot, "photo_camera", _named, lambda row: row.alias),
    Kind(Backend, "dns", _nodes, lambda row: row.name),
    Kind(Host, "computer", _hosts, lambda row: row.name),
    Kind(
        Tenant, "apartment", lambda text: Q(name__icontains=text) | Q(pk=text), lambda row: row.name
    ),
    Kind(Task, "checklist", lambda text: Q(pk=text.lower()), lambda row: row.type),
    Kind(
        Replica,
        "file_copy",
        lambda text: Q(uuid=text.lower()),
        lambda row: f"replica of {row.volume.alias}",
        "volume",
    ),
    Kind(Ssd, "hard_drive", lambda text: Q(ssd_id__iexact=text), lambda row: row.ssd_id),
)


def console_search(site: AdminSite, request: HttpRequest, text: str) -> list[Found]:
    """Return the pages and objects that match ``text``, at most OF_EACH of each kind.

    The user finds only objects that the lists would show. Each kind takes one query.
    """
    text = text.strip()[:LONGEST]
    if not text or "\0" in text:
        return []
    found = list(_pages(request, text))
    for kind in KINDS:
        page = site._registry[kind.model]
        if page.has_view_permission(request):
            rows = of_tenant(_rows(kind, text), tenant_of(request))
            found += [_found(kind, row) for row in rows[:OF_EACH]]
    return found


def _rows(kind: Kind, text: str) -> QuerySet[Any]:
    rows: QuerySet[Any] = kind.model._default_manager.filter(kind.matches(text))
    rows = rows.select_related(kind.target) if kind.target else rows
    return rows.distinct() if kind.model is Backend else rows


def _found(kind: Kind, row: Any) -> Found:
    shown = getattr(row, kind.target) if kind.target else row
    name = f"admin:{shown._meta.app_label}_{shown._meta.model_name}_change"
    known_as = getattr(row, "uuid", row.pk)
    text = f"{kind.model._meta.verbose_name} {known_as}"
    return Found(kind.label(row), text, reverse(name, args=[quote(shown.pk)]), kind.icon)


def _pages(request: HttpRequest, text: str) -> Iterator[Found]:
    for group in pages(request):
        for page in group["items"]:
            if text.lower() in page["title"].lower():
                yield Found(page["title"], group.get("title", "page"), page["link"], page["icon"])
