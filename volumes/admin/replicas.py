"""Console pages of replicas, sub-volumes and orphans."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from provisioner.common.admin import (
    DeadlineFilter,
    ReadOnlyAdmin,
    badge_column,
    link_column,
    size_column,
    text_column,
    unfinished_column,
    wait_column,
)
from volumes.admin.inlines import SubVolumeInline
from volumes.models import Orphan, Replica, SubVolume
from volumes.pending import replica_row_pending_reason


@admin.register(Replica)
class ReplicaAdmin(ReadOnlyAdmin):
    volume_link = link_column("volume")
    backend_link = link_column("backend")
    claimed = size_column("claimed_bytes", "claimed")
    wait = wait_column()
    pending_reason = text_column(replica_row_pending_reason, "waits for")
    reported = badge_column("replica_state")
    unfinished = unfinished_column(replica_row_pending_reason)
    list_display = [
        "uuid",
        "volume_link",
        "backend_link",
        "reported",
        "replica_state_since",
        "claimed",
        "unfinished",
    ]
    list_filter = ["replica_state", "state", DeadlineFilter, "backend"]
    list_select_related = ["volume", "backend"]
    search_fields = ["=uuid", "=volume__uuid", "volume__alias", "backend__name"]
    inlines = [SubVolumeInline]
    fields = [
        "uuid",
        "volume",
        "backend",
        "replica_state",
        "replica_state_since",
        "claimed",
        "desired_iops",
        "desired_bw",
        "state",
        "wait",
        "pending_reason",
        "related",
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Replica]:
        rows: QuerySet[Replica] = super().get_queryset(request)
        return rows.prefetch_related("exports")


@admin.register(SubVolume)
class SubVolumeAdmin(ReadOnlyAdmin):
    replica_link = link_column("replica")
    snapshot_link = link_column("snapshot")
    ssd_link = link_column("ssd", "SSD")
    capacity = size_column("capacity_bytes", "capacity")
    claimed = size_column("claimed_bytes", "claimed")
    list_display = [
        "id",
        "replica_link",
        "snapshot_link",
        "ssd_link",
        "capacity",
        "claimed",
        "storage_class_name",
    ]
    list_select_related = ["replica", "snapshot", "ssd"]
    search_fields = ["=replica__uuid", "=snapshot__uuid", "=ssd__ssd_id", "storage_class_name"]
    fields = [
        "replica",
        "snapshot",
        "ssd",
        "capacity",
        "claimed",
        "storage_class_name",
        "exclusive_class",
    ]


@admin.register(Orphan)
class OrphanAdmin(ReadOnlyAdmin):
    """Orphans that the last check of each node found."""

    backend_link = link_column("backend")
    size = size_column("size_bytes", "size")
    list_display = [
        "uuid",
        "kind",
        "backend_link",
        "alias",
        "tenant_id",
        "kept",
        "size",
        "first_seen_at",
        "last_seen_at",
    ]
    list_filter = ["kind", "kept", "backend"]
    list_select_related = ["backend"]
    search_fields = ["=uuid", "target_nqn", "alias", "=tenant_id"]
    fields = [
        "uuid",
        "kind",
        "backend",
        ("alias", "tenant_id", "volume_uuid", "pool", "kept"),
        ("target_nqn", "generation"),
        "size",
        ("first_seen_at", "last_seen_at"),
    ]
