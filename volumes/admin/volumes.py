"""Administration pages of tenants, volumes and what belongs to them."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from provisioner.common.admin import (
    NONE,
    ChoiceFilter,
    DeadlineFilter,
    ReadOnlyAdmin,
    link_column,
    list_link,
    share_column,
    size,
    size_column,
    text_column,
    wait_column,
)
from tasks.models import Task
from volumes.admin.inlines import (
    ExportInline,
    PublicationInline,
    ReplicaInline,
    SnapshotInline,
    SubVolumeInline,
)
from volumes.health import Health
from volumes.health_selectors import health_column, volume_healths, volumes_of_health
from volumes.models import (
    Export,
    Orphan,
    Publication,
    Replica,
    Snapshot,
    SubVolume,
    Tenant,
    Volume,
)
from volumes.pending import (
    export_pending_reason,
    publication_pending_reason,
    replica_row_pending_reason,
    snapshot_pending_reason,
    volume_pending_reason,
)
from volumes.read_models import volume_rows
from volumes.selectors import volumes_visible


def _count(model: Any) -> Coalesce:
    """Count a volume's rows of a model, by a subquery that runs for the rows of one page only."""
    rows = model.objects.filter(volume=OuterRef("pk")).order_by().values("volume")
    return Coalesce(Subquery(rows.annotate(count=Count("pk")).values("count")), 0)


@admin.register(Tenant)
class TenantAdmin(ReadOnlyAdmin):
    """Tenants and their budgets. ``/tenants`` sets the budgets."""

    capacity_used = share_column("used_bytes", "capacity_bytes", "capacity used", size)
    list_display = [
        "name",
        "tenant_id",
        "capacity_used",
        "total_iops",
        "total_bw",
        "follows_pool",
    ]
    list_filter = ["follows_pool"]
    search_fields = ["name", "=tenant_id"]
    fields = [
        "name",
        "tenant_id",
        "capacity_used",
        "total_iops",
        "total_bw",
        "follows_pool",
        "related",
    ]


class HealthFilter(ChoiceFilter):
    title = "health"
    parameter_name = "health"
    choices_shown = Health

    def of(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        return volumes_of_health(rows, value)


@admin.register(Volume)
class VolumeAdmin(ReadOnlyAdmin):
    tenant_link = link_column("tenant")
    capacity = size_column("capacity_bytes", "capacity")
    expanding_to = size_column("expanding_to_bytes", "expanding to")
    claimed = size_column("claimed_bytes", "claimed for each replica")
    wait = wait_column()
    pending_reason = text_column(volume_pending_reason, "waits for")
    list_display = [
        "alias",
        "uuid",
        "health",
        "tenant_link",
        "capacity",
        "provisioning_type",
        "replica_count",
        "publication_count",
        "state",
        "wait",
        "pending_reason",
        "created_at",
    ]
    list_filter = [HealthFilter, "state", DeadlineFilter, "provisioning_type", "protocol", "tenant"]
    list_select_related = ["tenant"]
    search_fields = ["alias", "=uuid", "storage_class_name"]
    date_hierarchy = "created_at"
    inlines = [ReplicaInline, SnapshotInline, PublicationInline]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "alias",
                    "uuid",
                    "tenant",
                    ("state", "wait", "pending_reason"),
                    "health",
                    "health_reason",
                    ("related", "tasks"),
                ]
            },
        ),
        (
            "Capacity",
            {
                "fields": [
                    ("capacity", "expanding_to", "claimed"),
                    ("provisioning_type", "reserved_space_percentage", "block_size"),
                ]
            },
        ),
        ("Source", {"fields": [("snapshot", "writable"), "cloned_from"]}),
        (
            "Placement",
            {
                "fields": [
                    ("num_replicas", "replicable", "protocol", "host_id"),
                    ("regions", "zones", "racks"),
                    ("same_rack_allowed", "allow_span", "share_ssd"),
                    "storage_class_name",
                ]
            },
        ),
        (
            "Quality",
            {
                "fields": [
                    ("max_iops_per_gb", "desired_iops_per_gb"),
                    ("max_bw_per_gb", "desired_bw_per_gb"),
                    "max_replica_down_minutes",
                ]
            },
        ),
        ("Life", {"fields": ["created_at", "idempotency_digest"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Volume]:
        rows: QuerySet[Volume] = super().get_queryset(request)
        return rows.annotate(
            replica_number=_count(Replica),
            publication_number=_count(Publication),
            health=health_column(),
        )

    @admin.display(description="health")
    def health(self, volume: Any) -> str:
        return str(volume.health or Health.UNKNOWN)

    @admin.display(description="reason")
    def health_reason(self, volume: Volume) -> str:
        found = volume_healths(volume_rows(volumes_visible(None).filter(pk=volume.pk)))
        return found[volume.pk].reason or NONE if found else volume_pending_reason(volume)

    @admin.display(description="replicas")
    def replica_count(self, volume: Any) -> int:
        return int(volume.replica_number)

    @admin.display(description="published")
    def publication_count(self, volume: Any) -> int:
        return int(volume.publication_number)

    @admin.display(description="tasks")
    def tasks(self, volume: Volume) -> str:
        return list_link(Task, "tasks", volume_id=volume.uuid)


@admin.register(Replica)
class ReplicaAdmin(ReadOnlyAdmin):
    volume_link = link_column("volume")
    backend_link = link_column("backend")
    claimed = size_column("claimed_bytes", "claimed")
    wait = wait_column()
    pending_reason = text_column(replica_row_pending_reason, "waits for")
    list_display = [
        "uuid",
        "volume_link",
        "backend_link",
        "replica_state",
        "replica_state_since",
        "claimed",
        "state",
        "wait",
        "pending_reason",
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


@admin.register(Snapshot)
class SnapshotAdmin(ReadOnlyAdmin):
    tenant_link = link_column("tenant")
    volume_link = link_column("volume")
    capacity = size_column("capacity_bytes", "capacity")
    claimed = size_column("claimed_bytes", "claimed")
    wait = wait_column()
    pending_reason = text_column(snapshot_pending_reason, "waits for")
    list_display = [
        "alias",
        "uuid",
        "tenant_link",
        "volume_link",
        "capacity",
        "claimed",
        "state",
        "wait",
        "pending_reason",
        "created_at",
    ]
    list_filter = ["state", DeadlineFilter, "tenant"]
    list_select_related = ["tenant", "volume", "replica"]
    search_fields = ["alias", "=uuid", "=volume__uuid", "volume__alias"]
    date_hierarchy = "created_at"
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


@admin.register(Publication)
class PublicationAdmin(ReadOnlyAdmin):
    volume_link = link_column("volume")
    host_link = link_column("host")
    wait = wait_column()
    pending_reason = text_column(publication_pending_reason, "waits for")
    list_display = ["id", "volume_link", "host_link", "state", "wait", "pending_reason"]
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
    list_display = [
        "id",
        "replica_link",
        "publication_link",
        "nsid",
        "target_nqn",
        "state",
        "wait",
        "pending_reason",
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


@admin.register(Orphan)
class OrphanAdmin(ReadOnlyAdmin):
    """Orphans, as the last check of each node found them."""

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
