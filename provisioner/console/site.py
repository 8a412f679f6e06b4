"""The administration site."""

from typing import TYPE_CHECKING, Any

from django.contrib.admin import AdminSite
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from provisioner.console.search import MOST, console_search

if TYPE_CHECKING:
    _Site = AdminSite
else:
    from unfold.sites import UnfoldAdminSite as _Site


class ConsoleSite(_Site):
    """Unfold's site, with our search."""

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Unfold's context, without its colours: unfold would write them into each page, which the
        content security policy refuses. ``console.css`` has them.
        """
        return {**super().each_context(request), "colors": None}

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
