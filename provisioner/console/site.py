"""The administration site."""

from typing import TYPE_CHECKING, Any

from django.contrib.admin import AdminSite
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


SEES_POOL = "inventory.view_backend"
"""The permission that the pages about the whole pool need."""


class ConsoleSite(_Site):
    """Unfold's site, with our search and our actions."""

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Unfold's context, without its colours: unfold would write them into each page, which the
        content security policy refuses. ``console.css`` has them.
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
        """The overview. Who may not see the nodes gets Django's list of what he may see."""
        if not request.user.has_perm(SEES_POOL):
            return super().index(request, extra_context)
        overview = overview_read(tenant_of(request))
        context = {**self.each_context(request), "title": "Overview", "overview": overview}
        return TemplateResponse(request, "console/overview.html", context)

    def overview_panels(self, request: HttpRequest) -> HttpResponse:
        """The panels of the overview, which the page asks for again and again."""
        _require_pool(request)
        context = {"overview": overview_read(tenant_of(request))}
        return TemplateResponse(request, "console/overview_panels.html", context)

    def topology(self, request: HttpRequest) -> HttpResponse:
        """The pool as a picture; ``?volume=`` marks its replicas, ``?node=`` asks what if it
        stops.
        """
        _require_pool(request)
        asked = request.GET.get("volume", "").strip()
        node = request.GET.get("node", "")
        picture = topology_read(volume=asked, node=node, tenant_id=tenant_of(request))
        context = {"title": "Topology", "topology": picture, "asked": asked}
        context |= self.each_context(request)
        return TemplateResponse(request, "console/topology.html", context)

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Register as Django does. The pages get the actions of their model."""
        models = [model_or_iterable] if isinstance(model_or_iterable, type) else model_or_iterable
        for model in models:
            super().register(model, admin_class, **options | actions_of(model))

    def search(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The results of the command search, as a fragment of a page.

        Unfold's own search keeps results for minutes, and knows the names of tables only.
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
    if not request.user.has_perm(SEES_POOL):
        raise PermissionDenied
