from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from provisioner.common.admin import (
    DeadlineFilter,
    ReadOnlyAdmin,
    ReadOnlyInline,
    link_column,
    list_link,
    share_column,
    size,
    size_column,
    wait_column,
)
from tasks.models import Task
from volumes.models import Export, Publication, Replica, SubVolume, Tenant, Volume

WAIT = wait_column()


def _count(model: Any) -> Coalesce:
    """How many rows of a model a volume has; counted for the rows of a page alone."""
    rows = model.objects.filter(volume=OuterRef("pk")).order_by().values("volume")
    return Coalesce(Subquery(rows.annotate(count=Count("pk")).values("count")), 0)


class SubVolumeInline(ReadOnlyInline):
    model = SubVolume
    fields = [
        link_column("ssd", "SSD"),
        size_column("capacity_bytes", "capacity"),
        size_column("claimed_bytes", "claimed"),
        "exclusive_class",
    ]
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("ssd__backend")


class ReplicaInline(ReadOnlyInline):
    model = Replica
    fields = [
        "uuid",
        link_column("backend"),
        "replica_state",
        "replica_state_since",
        "shown_pieces",
        "state",
        WAIT,
    ]
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request).select_related("backend")
        return rows.prefetch_related("sub_volumes__ssd")

    @admin.display(description="on SSDs")
    def shown_pieces(self, replica: Replica) -> str:
        pieces = replica.sub_volumes.all()
        return ", ".join(f"{piece.ssd.ssd_id}: {size(piece.claimed_bytes)}" for piece in pieces)


class PublicationInline(ReadOnlyInline):
    model = Publication
    fields = [link_column("host"), "nsid", "state", WAIT]
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("host")


class ExportInline(ReadOnlyInline):
    model = Export
    fields = [link_column("replica"), "nsid", "target_nqn", "host_nqn", "state", WAIT]
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("replica")


@admin.register(Tenant)
class TenantAdmin(ReadOnlyAdmin):
    """Budgets. They are set by ``/tenants``."""

    list_display = [
        "name",
        "tenant_id",
        share_column("used_bytes", "capacity_bytes", "capacity used", size),
        "total_iops",
        "total_bw",
        "follows_pool",
    ]
    list_filter = ["follows_pool"]
    search_fields = ["name", "=tenant_id"]
    fields = [*list_display, "related"]


@admin.register(Volume)
class VolumeAdmin(ReadOnlyAdmin):
    list_display = [
        "alias",
        "uuid",
        link_column("tenant"),
        size_column("capacity_bytes", "capacity"),
        "provisioning_type",
        "protocol",
        "replica_count",
        "publication_count",
        "state",
        WAIT,
        "created_at",
    ]
    list_filter = ["state", DeadlineFilter, "provisioning_type", "protocol", "tenant"]
    list_select_related = ["tenant"]
    search_fields = ["alias", "=uuid", "storage_class_name"]
    date_hierarchy = "created_at"
    inlines = [ReplicaInline, PublicationInline]
    fieldsets = [
        (None, {"fields": ["alias", "uuid", "tenant", "state", WAIT, "related", "tasks"]}),
        (
            "Capacity",
            {
                "fields": [
                    size_column("capacity_bytes", "capacity"),
                    size_column("growing_to_bytes", "growing to"),
                    size_column("claimed_bytes", "claimed for each replica"),
                    "provisioning_type",
                    "reserved_space_percentage",
                    "block_size",
                ]
            },
        ),
        (
            "Placement",
            {
                "fields": [
                    "num_replicas",
                    "protocol",
                    "host_id",
                    "regions",
                    "zones",
                    "racks",
                    "same_rack_allowed",
                    "allow_span",
                    "storage_class_name",
                    "share_ssd",
                ]
            },
        ),
        (
            "Quality",
            {
                "fields": [
                    "max_iops_per_gb",
                    "desired_iops_per_gb",
                    "max_bw_per_gb",
                    "desired_bw_per_gb",
                    "max_replica_down_minutes",
                ]
            },
        ),
        ("Life", {"fields": ["created_at"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Volume]:
        rows = super().get_queryset(request)
        return rows.annotate(replica_number=_count(Replica), publication_number=_count(Publication))

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
    list_display = [
        "uuid",
        link_column("volume"),
        link_column("backend"),
        "replica_state",
        "replica_state_since",
        size_column("claimed_bytes", "claimed"),
        "state",
        WAIT,
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
        size_column("claimed_bytes", "claimed"),
        "desired_iops",
        "desired_bw",
        "state",
        WAIT,
        "related",
    ]


@admin.register(SubVolume)
class SubVolumeAdmin(ReadOnlyAdmin):
    list_display = [
        "id",
        link_column("replica"),
        link_column("ssd", "SSD"),
        size_column("capacity_bytes", "capacity"),
        size_column("claimed_bytes", "claimed"),
        "storage_class_name",
    ]
    list_select_related = ["replica", "ssd"]
    search_fields = ["=replica__uuid", "=ssd__ssd_id", "storage_class_name"]
    fields = [*list_display[1:], "exclusive_class"]


@admin.register(Publication)
class PublicationAdmin(ReadOnlyAdmin):
    list_display = ["id", link_column("volume"), link_column("host"), "nsid", "state", WAIT]
    list_filter = ["state", DeadlineFilter]
    list_select_related = ["volume", "host"]
    search_fields = ["=volume__uuid", "volume__alias", "host__name", "=host__uuid"]
    inlines = [ExportInline]
    fields = ["volume", "host", "nsid", "state", WAIT]


@admin.register(Export)
class ExportAdmin(ReadOnlyAdmin):
    list_display = [
        "id",
        link_column("replica"),
        link_column("publication"),
        "nsid",
        "target_nqn",
        "state",
        WAIT,
    ]
    list_filter = ["state", DeadlineFilter]
    list_select_related = ["replica", "publication"]
    search_fields = ["=replica__uuid", "target_nqn", "host_nqn"]
    fields = ["replica", "publication", "nsid", "target_nqn", "host_nqn", "state", WAIT]
