from typing import Any

from django.contrib import admin
from django.db.models import QuerySet, Sum
from django.http import HttpRequest
from django.utils import timezone

from inventory.models import Backend, BackendAddress, Host, Liveness, Portal, Ssd
from provisioner.common.admin import (
    ReadOnlyAdmin,
    ReadOnlyInline,
    link_column,
    list_link,
    share_column,
    size,
)
from tasks.models import Task

SSD_USE = share_column("used_bytes", "capacity_bytes", "used", size)


class LivenessFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(value), str(label)) for value, label in Liveness.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case Liveness.AVAILABLE:
                return queryset.filter(available_until__gte=timezone.now())
            case Liveness.UNAVAILABLE:
                return queryset.filter(available_until__lt=timezone.now())
            case _:
                return queryset


class _LivingAdmin(ReadOnlyAdmin):
    @admin.display(description="available", boolean=True, ordering="available_until")
    def available(self, row: Backend | Host) -> bool:
        return row.is_available


class AddressInline(ReadOnlyInline):
    model = BackendAddress
    fields = ["position", "address", "port"]
    show_change_link = False


class SsdInline(ReadOnlyInline):
    model = Ssd
    verbose_name_plural = "SSDs"
    fields = ["ssd_id", "name", SSD_USE, "present"]
    readonly_fields = [SSD_USE]


class PortalInline(ReadOnlyInline):
    model = Portal
    fields = ["transport", "ip", "port"]
    show_change_link = False


@admin.register(Backend)
class BackendAdmin(_LivingAdmin):
    """Storage nodes. They are added, changed and removed by ``/backends``."""

    list_display = [
        "name",
        "persistent_id",
        "available",
        "in_use",
        "region",
        "zone",
        "rack",
        share_column("used_bytes", "capacity_bytes", "capacity used", size),
        share_column("used_iops", "total_iops", "IOPS used"),
        share_column("used_bw", "total_bw", "bandwidth used"),
        "last_probe_at",
        "version",
    ]
    list_filter = [LivenessFilter, "in_use", "region", "zone", "rack", "version"]
    search_fields = ["name", "=persistent_id", "=host_id", "addresses__address"]
    inlines = [AddressInline, SsdInline, PortalInline]
    fieldsets = [
        (
            None,
            {"fields": ["name", "persistent_id", "available", "in_use", "certified", "related"]},
        ),
        ("Place", {"fields": ["region", "zone", "rack", "host_id", "mgmt_port"]}),
        (
            "Use",
            {
                "fields": [
                    share_column("used_bytes", "capacity_bytes", "capacity", size),
                    share_column("used_iops", "total_iops", "IOPS"),
                    share_column("used_bw", "total_bw", "bandwidth"),
                ]
            },
        ),
        ("Software", {"fields": ["version", "target_driver_version", "authentication_mode"]}),
        (
            "Life",
            {
                "fields": [
                    "last_probe_at",
                    "probe_interval",
                    "available_until",
                    "refreshed_at",
                    "refresh_wanted_at",
                    "polled_at",
                    "boot_id",
                    "token_expires_at",
                    "created_at",
                ]
            },
        ),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Backend]:
        return (
            super()
            .get_queryset(request)
            .annotate(
                used_bytes=Sum("ssds__used_bytes"), capacity_bytes=Sum("ssds__capacity_bytes")
            )
        )


@admin.register(Ssd)
class SsdAdmin(ReadOnlyAdmin):
    list_display = ["ssd_id", link_column("backend"), "name", SSD_USE, "present"]
    list_filter = ["present", "backend"]
    list_select_related = ["backend"]
    search_fields = ["ssd_id", "name", "backend__name", "=backend__persistent_id"]
    fields = ["ssd_id", "backend", "name", SSD_USE, "present", "related"]


@admin.register(Portal)
class PortalAdmin(ReadOnlyAdmin):
    list_display = ["ip", "port", "transport", link_column("backend")]
    list_filter = ["transport"]
    list_select_related = ["backend"]
    search_fields = ["ip", "backend__name", "=backend__persistent_id"]


@admin.register(BackendAddress)
class BackendAddressAdmin(ReadOnlyAdmin):
    list_display = ["address", "port", "position", link_column("backend")]
    list_select_related = ["backend"]
    search_fields = ["address", "backend__name", "=backend__persistent_id"]


@admin.register(Host)
class HostAdmin(_LivingAdmin):
    """Initiators. They make themselves known by ``POST /host_probe``."""

    list_display = [
        "name",
        "uuid",
        "available",
        "client_type",
        "version",
        "multipath",
        "last_probe_at",
    ]
    list_filter = [LivenessFilter, "client_type", "multipath", "version"]
    search_fields = ["name", "=uuid", "=nqn"]
    fieldsets = [
        (None, {"fields": ["name", "uuid", "nqn", "available", "related", "tasks"]}),
        ("Client", {"fields": ["client_type", "version", "multipath", "used_namespace_ids"]}),
        ("Life", {"fields": ["last_probe_at", "duration", "available_until"]}),
    ]

    @admin.display(description="tasks")
    def tasks(self, host: Host) -> str:
        return list_link(Task, "tasks", host_id=host.uuid)
