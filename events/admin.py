"""Events in the console: the list of events, and tables of events on the pages of objects."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from events.kinds import OBJECTS
from events.models import Event
from events.selectors import EventFilter, details_shown, event_rows
from provisioner.common.admin import ReadOnlyAdmin, link, list_url
from provisioner.common.detail_pages import SHOWN, Table, table
from provisioner.common.display import badge
from provisioner.common.tenancy import tenant_of


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """The page of events, the latest first. A search for ``type:id`` finds all events of an
    object.
    """

    list_display = ["at", "shown_severity", "kind", "text", "actor", "tenant_id"]
    list_filter = ["severity", "actor_type", "kind"]
    search_fields = ["text", "=request_id", "=actor"]
    date_hierarchy = "at"
    ordering = ["-number"]
    fieldsets = [
        (None, {"fields": ["number", "at", "severity", "kind", "text", "reason"]}),
        ("Who", {"fields": ["actor_type", "actor", "request_id", "tenant_id"]}),
        ("About", {"fields": ["subjects", "details"]}),
    ]

    @admin.display(description="severity", ordering="severity")
    def shown_severity(self, event: Event) -> str:
        return badge(event.get_severity_display())

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Event | None:
        event: Event | None = super().get_object(request, object_id, from_field)
        if event is not None:
            event.details = details_shown(event, tenant_of(request))
        return event

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], search_term: str
    ) -> tuple[QuerySet[Event], bool]:
        if search_term.partition(":")[0] in OBJECTS:
            return queryset & event_rows(EventFilter(about=search_term)), False
        return super().get_search_results(request, queryset, search_term)


def event_table(about: str, tenant_id: str | None) -> Table:
    """Return a table of the latest events of an object (``type:id``) that users of the tenant may
    see. None: all events.
    """
    rows = event_rows(EventFilter(about=about, tenant_id=tenant_id)).order_by("-number")
    return table(
        "Events",
        "When, Severity, Event, By",
        (
            (
                f"{event.at:%Y-%m-%d %H:%M:%S}",
                badge(event.get_severity_display()),
                format_html('<span class="text">{}</span>', link(event, event.text)),
                event.actor,
            )
            for event in rows[: SHOWN + 1]
        ),
        list_url(Event, q=about),
    )
