"""Events in the console: the list of events, and tables of events on the pages of objects."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from events.kinds import OBJECTS
from events.models import Event
from events.selectors import EventFilter, event_rows
from provisioner.common.admin import ReadOnlyAdmin, link, list_url
from provisioner.common.detail_pages import SHOWN, Table, table
from provisioner.common.display import badge


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """The page of events, the newest first. A search for ``type:id`` finds all events about an
    object.
    """

    list_display = ["at", "severity", "kind", "text", "actor", "tenant_id"]
    list_filter = ["severity", "actor_type", "kind"]
    search_fields = ["text", "=request_id", "=actor"]
    date_hierarchy = "at"
    ordering = ["-number"]
    fieldsets = [
        (None, {"fields": ["number", "at", "severity", "kind", "text", "reason"]}),
        ("Who", {"fields": ["actor_type", "actor", "request_id", "tenant_id"]}),
        ("About", {"fields": ["subjects", "details"]}),
    ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], search_term: str
    ) -> tuple[QuerySet[Event], bool]:
        if search_term.partition(":")[0] in OBJECTS:
            return queryset & event_rows(EventFilter(about=search_term)), False
        return super().get_search_results(request, queryset, search_term)


def event_table(about: str) -> Table:
    """The latest events about an object, ``type:id``."""
    rows = event_rows(EventFilter(about=about)).order_by("-number")
    return table(
        "Events",
        "When, Severity, What happened, By",
        (
            (
                f"{event.at:%Y-%m-%d %H:%M:%S}",
                badge(event.get_severity_display()),
                link(event, event.text),
                event.actor,
            )
            for event in rows[: SHOWN + 1]
        ),
        list_url(Event, q=about),
    )
