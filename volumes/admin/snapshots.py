"""Administration pages of snapshots."""

from django.contrib import admin

from provisioner.common.admin import (
    DeadlineFilter,
    ReadOnlyAdmin,
    link_column,
    named_column,
    size_column,
    text_column,
    unfinished_column,
    wait_column,
)
from volumes.admin.inlines import SubVolumeInline
from volumes.models import Snapshot
from volumes.pending import snapshot_pending_reason


@admin.register(Snapshot)
class SnapshotAdmin(ReadOnlyAdmin):
    tenant_link = link_column("tenant")
    volume_link = link_column("volume")
    capacity = size_column("capacity_bytes", "capacity")
    claimed = size_column("claimed_bytes", "claimed")
    wait = wait_column()
    pending_reason = text_column(snapshot_pending_reason, "waits for")
    named = named_column("alias", "uuid", "snapshot")
    unfinished = unfinished_column(snapshot_pending_reason)
    list_display = [
        "named",
        "volume_link",
        "tenant_link",
        "capacity",
        "claimed",
        "unfinished",
        "created_at",
    ]
    list_filter = ["state", DeadlineFilter, "tenant"]
    list_select_related = ["tenant", "volume", "replica"]
    search_fields = ["alias", "=uuid", "=volume__uuid", "volume__alias"]
    inlines = [SubVolumeInline]
    fields = [
        "alias",
        "uuid",
        "tenant",
        "volume",
        "replica",
        "capacity",
        ("reserved_space_percentage", "claimed"),
        ("created_at", "idempotency_digest"),
        "state",
        "wait",
        "pending_reason",
        "related",
    ]
