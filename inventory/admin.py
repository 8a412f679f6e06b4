"""The console pages of the pool. They are read-only."""

from typing import Any

from django.contrib import admin
from django.db.models import F, OuterRef, QuerySet, Subquery, Sum
from django.http import HttpRequest

from inventory.health import (
    NodeHealth,
    node_health,
    node_health_reason,
    node_pending_reason,
)
from inventory.models import (
    Backend,
    BackendAddress,
    Host,
    InventorySample,
    License,
    Liveness,
    Pool,
    Portal,
    Recovery,
    ReleasedSlot,
    Ssd,
    SyslogRecord,
    SyslogServer,
    SyslogSource,
)
from provisioner.common import clock
from provisioner.common.admin import (
    ChoiceFilter,
    ReadOnlyAdmin,
    ReadOnlyInline,
    link_column,
    list_link,
    named_column,
    share_column,
    text_column,
)
from provisioner.common.display import NONE, badge, number, rate, size, two_lines
from tasks.models import Task


class LivenessFilter(ChoiceFilter):
    """Filters by Available or Unavailable."""

    title = "state"
    parameter_name = "state"
    choices_shown = Liveness

    def of(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        if value == Liveness.AVAILABLE:
            return rows.filter(available_until__gte=clock.now())
        return rows.filter(available_until__lt=clock.now())


class NodeHealthFilter(ChoiceFilter):
    """Filters by the health of nodes."""

    title = "health"
    parameter_name = "health"
    choices_shown = NodeHealth

    def of(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        return rows.filter(health=value)


class _LivingAdmin(ReadOnlyAdmin):
    @admin.display(description="available", boolean=True, ordering="available_until")
    def available(self, row: Backend | Host) -> bool:
        return row.is_available


class _OfBackendAdmin(ReadOnlyAdmin):
    list_select_related = ["backend"]
    backend_link = link_column("backend")


def _sum(field: str) -> Subquery:
    """A subquery with the sum of a field over the SSDs of a backend."""
    ssds = Ssd.objects.filter(backend=OuterRef("pk")).order_by().values("backend")
    return Subquery(ssds.annotate(total=Sum(field)).values("total"))


class AddressInline(ReadOnlyInline):
    model = BackendAddress
    verbose_name_plural = "addresses"
    fields = ["position", "address", "port"]
    show_change_link = False


class SsdInline(ReadOnlyInline):
    model = Ssd
    verbose_name_plural = "SSDs"
    fields = ["ssd_id", "name", "used", "present"]
    used = share_column("used_bytes", "capacity_bytes", "used", size)


class PortalInline(ReadOnlyInline):
    model = Portal
    fields = ["transport", "ip", "port"]
    show_change_link = False


@admin.register(Backend)
class BackendAdmin(_LivingAdmin):
    """Storage nodes. ``/backends`` adds, changes and removes them."""

    capacity_used = share_column("used_bytes", "capacity_bytes", "capacity used", size)
    iops_used = share_column("used_iops", "total_iops", "IOPS used", number)
    bandwidth_used = share_column("used_bw", "total_bw", "bandwidth used", rate)
    waits = text_column(lambda node: node_pending_reason(node, clock.now()), "waits for")
    named = named_column("name", "persistent_id", "node")
    list_display = [
        "named",
        "health",
        "place",
        "capacity_used",
        "iops_used",
        "bandwidth_used",
        "version",
        "waits",
    ]
    list_filter = [NodeHealthFilter, LivenessFilter, "in_use", "region", "zone", "rack", "version"]
    search_fields = ["name", "=persistent_id", "=host_id", "addresses__address"]
    inlines = [AddressInline, SsdInline, PortalInline]
    of_pool = frozenset({"capacity_used", "iops_used", "bandwidth_used"})
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "name",
                    "persistent_id",
                    ("available", "in_use", "certified"),
                    "waits",
                    "related",
                ]
            },
        ),
        ("Place", {"fields": [("region", "zone", "rack"), ("host_id", "mgmt_port")]}),
        (
            "Use",
            {
                "fields": [
                    "capacity_used",
                    "iops_used",
                    "bandwidth_used",
                ]
            },
        ),
        ("Software", {"fields": [("version", "target_driver_version", "authentication_mode")]}),
        (
            "Life",
            {
                "fields": [
                    ("last_probe_at", "probe_interval", "available_until"),
                    ("refreshed_at", "refresh_wanted_at", "polled_at", "syslogs_wanted_at"),
                    ("boot_id", "checked_boot_id", "checked_at"),
                    ("token_expires_at", "created_at"),
                ]
            },
        ),
    ]

    @admin.display(description="health", ordering="health")
    def health(self, backend: Any) -> str:
        return badge(backend.health)

    @admin.display(description="reason")
    def health_reason(self, backend: Any) -> str:
        since, now = backend.drained_since, clock.now()
        return node_health_reason(backend, backend.health, since, now) or NONE

    @admin.display(description="place", ordering="region")
    def place(self, backend: Backend) -> str:
        return two_lines(backend.rack or NONE, f"{backend.region or NONE} / {backend.zone or NONE}")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Backend]:
        """Add the health, and the sums over the SSDs. They are subqueries because a search joins
        the addresses.
        """
        rows: QuerySet[Backend] = super().get_queryset(request)
        return rows.annotate(
            health=node_health(),
            drained_since=F("drain__started_at"),
            used_bytes=_sum("used_bytes"),
            capacity_bytes=_sum("capacity_bytes"),
        )


@admin.register(Ssd)
class SsdAdmin(_OfBackendAdmin):
    used = share_column("used_bytes", "capacity_bytes", "used", size)
    list_display = ["ssd_id", "backend_link", "name", "used", "present"]
    list_filter = ["present", "backend"]
    search_fields = ["ssd_id", "name", "backend__name", "=backend__persistent_id"]
    fields = ["ssd_id", "backend", "name", "used", "present", "related"]


@admin.register(Portal)
class PortalAdmin(_OfBackendAdmin):
    list_display = ["ip", "port", "transport", "backend_link"]
    list_filter = ["transport"]
    search_fields = ["ip", "backend__name", "=backend__persistent_id"]


@admin.register(BackendAddress)
class BackendAddressAdmin(_OfBackendAdmin):
    list_display = ["address", "port", "position", "backend_link"]
    search_fields = ["address", "backend__name", "=backend__persistent_id"]


@admin.register(Host)
class HostAdmin(_LivingAdmin):
    """Initiators. ``POST /host_probe`` adds and updates them."""

    named = named_column("name", "uuid", "host")
    list_display = [
        "named",
        "liveness",
        "nqn",
        "has_agent",
        "client_type",
        "version",
        "multipath",
        "last_probe_at",
    ]
    list_filter = [LivenessFilter, "client_type", "multipath", "version"]
    search_fields = ["name", "=uuid", "=nqn"]
    of_pool = frozenset({"used_namespace_ids"})
    fieldsets = [
        (None, {"fields": ["name", "uuid", "nqn", "available", "related", "tasks"]}),
        ("Client", {"fields": ["client_type", "version", "multipath", "used_namespace_ids"]}),
        ("Life", {"fields": ["last_probe_at", "duration", "available_until", "agent_until"]}),
    ]

    @admin.display(description="state", ordering="available_until")
    def liveness(self, host: Host) -> str:
        return badge(host.state)

    @admin.display(description="agent", boolean=True)
    def has_agent(self, host: Host) -> bool:
        return host.has_agent

    @admin.display(description="tasks")
    def tasks(self, host: Host) -> str:
        return list_link(Task, "tasks", host_id=host.uuid)


@admin.register(SyslogSource)
class SyslogSourceAdmin(_OfBackendAdmin):
    list_display = ["__str__", "backend_link", "read_at"]
    fields = ["backend", "read_at"]


@admin.register(SyslogServer)
class SyslogServerAdmin(ReadOnlyAdmin):
    """Syslog servers, as in the settings of a storage node."""

    list_display = ["name", "url", "state", "use_tls", "failures", "next_try_at"]
    list_filter = ["state", "use_tls"]
    search_fields = ["name", "url"]
    fieldsets = [
        (None, {"fields": ["name", "url", "node_server_id", "state", "related"]}),
        ("TLS", {"fields": ["use_tls", "cert_file_name", "certificate"]}),
        ("Sending", {"fields": [("failures", "next_try_at")]}),
    ]


@admin.register(SyslogRecord)
class SyslogRecordAdmin(ReadOnlyAdmin):
    """Records that still wait for a server."""

    list_display = ["id", "server_link", "created_at"]
    list_filter = ["server"]
    list_select_related = ["server"]
    fields = ["server", "created_at", "text"]
    server_link = link_column("server")

    @admin.display(description="record")
    def text(self, record: SyslogRecord) -> str:
        return bytes(record.content).decode("utf-8", "replace")


@admin.register(Pool)
class PoolAdmin(ReadOnlyAdmin):
    """The identity of this pool. While ``doubt`` is set, writes are barred until an operator runs
    ``manage.py database_restored``.
    """

    list_display = ["__str__", "doubt", "doubt_since"]
    fields = ["name", "uuid", "seal", "doubt", "doubt_since"]


@admin.register(Recovery)
class RecoveryAdmin(ReadOnlyAdmin):
    """Recoveries of an older database, with the nodes that have not been compared yet."""

    list_display = ["at", "after_generation", "until_generation", "awaited"]
    fields = ["at", ("after_generation", "until_generation"), "awaited"]


@admin.register(ReleasedSlot)
class ReleasedSlotAdmin(ReadOnlyAdmin):
    """NVMe controller ids of removed nodes. A node that is added again gets its former ids."""

    list_display = ["persistent_id", "controller_slot", "released_at"]
    fields = ["persistent_id", "controller_slot", "released_at"]


@admin.register(License)
class LicenseAdmin(ReadOnlyAdmin):
    """The installed licence. ``POST /license`` installs another one."""

    list_display = ["type", "max_backends", "expires_at"]
    fields = ["type", "max_backends", "expires_at"]


@admin.register(InventorySample)
class InventorySampleAdmin(ReadOnlyAdmin):
    list_display = ["id", "__str__", "taken_at"]
    date_hierarchy = "taken_at"
    ordering = ["-id"]
    fields = ["taken_at", "backends"]
