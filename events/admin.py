from django.contrib import admin

from events.models import Event
from provisioner.common.admin import ReadOnlyAdmin


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """Shows what happened, the newest first."""

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
