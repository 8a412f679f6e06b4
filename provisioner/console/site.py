"""The administration site."""

from typing import TYPE_CHECKING, Any

from django.contrib.admin import AdminSite
from django.contrib.auth import authenticate
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path

from provisioner.common.tenancy import tenant_of
from provisioner.console.actions.all import actions_of
from provisioner.console.overview import overview_read
from provisioner.console.search import MOST, console_search
from provisioner.console.topology import topology_read

if TYPE_CHECKING:
    _Site = AdminSite
else:
    from unfold.sites import UnfoldAdminSite as _Site


VIEW_POOL_PERMISSION = "inventory.view_backend"
"""The permission that pages about the whole pool require."""


class ConsoleSite(_Site):
    """The site of unfold, with the search and the actions of the console."""

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return the context of unfold without its colours. Unfold would write them as inline
        styles, which the content security policy forbids. ``console.css`` has them.
        """
        return {**super().each_context(request), "colors": None}

    def get_urls(self) -> list[Any]:
        pages = [
            path("overview/", self.admin_view(self.overview_panels), name="overview_panels"),
            path("topology/", self.admin_view(self.topology), name="topology"),
        ]
        return pages + super().get_urls()

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """Show the overview. Users who may not see nodes get Django's list of the pages that they
        may see.
        """
        if not request.user.has_perm(VIEW_POOL_PERMISSION):
            return super().index(request, extra_context)
        overview = overview_read(tenant_of(request))
        context = {**self.each_context(request), "title": "Overview", "overview": overview}
        return TemplateResponse(request, "console/overview.html", context)

    def overview_panels(self, request: HttpRequest) -> HttpResponse:
        """Return the panels of the overview. The page reloads them regularly."""
        _require_pool(request)
        context = {"overview": overview_read(tenant_of(request))}
        return TemplateResponse(request, "console/overview_panels.html", context)

    def topology(self, request: HttpRequest) -> HttpResponse:
        """Show the topology of the pool. ``?volume=`` marks the replicas of a volume; ``?node=``
        shows the effects if that node stops.
        """
        _require_pool(request)
        asked = request.GET.get("volume", "").strip()
        node = request.GET.get("node", "")
        picture = topology_read(volume=asked, node=node, tenant_id=tenant_of(request))
        context = {"title": "Topology", "topology": picture, "asked": asked}
        context |= self.each_context(request)
        return TemplateResponse(request, "console/topology.html", context)

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """Show Django's page, but first count the old password as a login.

        :raises TooManyLogins: too many wrong passwords; this one was not hashed. The answer is HTTP
            429.
        """
        if request.method == "POST":
            name, old = request.user.get_username(), request.POST.get("old_password")
            authenticate(request, username=name, password=old)
        return super().password_change(request, extra_context)

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Register a model as Django does, and add the actions of the model to its pages."""
        models = [model_or_iterable] if isinstance(model_or_iterable, type) else model_or_iterable
        for model in models:
            super().register(model, admin_class, **options | actions_of(model))

    def search(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Return the search results, as a fragment of a page.

        Unfold's own search caches results for minutes, and finds only the names of tables.
        """
        results = console_search(self, request, request.GET.get("s", ""))
        found = Paginator(results, MOST)
        context = {
            "page_obj": found,
            "results": found.page(1),
            "page_counter": 0,
            "execution_time": 0,
            "command_show_history": False,
        }
        headers = {"HX-Trigger": "search"}
        template = "unfold/helpers/command_results.html"
        return TemplateResponse(request, template, context, headers=headers)


def _require_pool(request: HttpRequest) -> None:
    if not request.user.has_perm(VIEW_POOL_PERMISSION):
        raise PermissionDenied
