"""Console pages of publications and exports."""

from django.contrib import admin

from provisioner.common.admin import (
    DeadlineFilter,
    ReadOnlyAdmin,
    link_column,
    text_column,
    unfinished_column,
    wait_column,
)
from volumes.admin.inlines import ExportInline
from volumes.models import Export, Publication
from volumes.pending import export_pending_reason, publication_pending_reason


@admin.register(Publication)
class PublicationAdmin(ReadOnlyAdmin):
    volume_link = link_column("volume")
    host_link = link_column("host")
    wait = wait_column()
    pending_reason = text_column(publication_pending_reason, "waits for")
    unfinished = unfinished_column(publication_pending_reason)
    list_display = ["id", "volume_link", "host_link", "unfinished"]
    list_filter = ["state", DeadlineFilter]
    list_select_related = ["volume", "host"]
    search_fields = ["=volume__uuid", "volume__alias", "host__name", "=host__uuid"]
    inlines = [ExportInline]
    fields = ["volume", "host", "state", "wait", "pending_reason", "idempotency_digest"]


@admin.register(Export)
class ExportAdmin(ReadOnlyAdmin):
    replica_link = link_column("replica")
    publication_link = link_column("publication")
    wait = wait_column()
    pending_reason = text_column(export_pending_reason, "waits for")
    unfinished = unfinished_column(export_pending_reason)
    list_display = [
        "id",
        "replica_link",
        "publication_link",
        "nsid",
        "target_nqn",
        "unfinished",
    ]
    list_filter = ["state", DeadlineFilter]
    list_select_related = ["replica", "publication"]
    search_fields = ["=replica__uuid", "target_nqn", "host_nqn"]
    fields = [
        "replica",
        "publication",
        "nsid",
        "target_nqn",
        "host_nqn",
        "state",
        "wait",
        "pending_reason",
    ]
