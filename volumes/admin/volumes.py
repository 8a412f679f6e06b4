"""Console pages of volumes."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from events.admin import event_table
from provisioner.common.admin import (
    ChoiceFilter,
    DeadlineFilter,
    ReadOnlyAdmin,
    link,
    link_column,
    list_link,
    list_url,
    named_column,
    size_column,
    text_column,
    unfinished_column,
    wait_column,
)
from provisioner.common.detail_pages import Fact, Table
from provisioner.common.display import NONE, badge, size
from provisioner.common.tenancy import of_tenant
from tasks.admin import task_table
from tasks.models import Task
from volumes.admin.of_volume import hosts_of_volume, replicas_of_volume, snapshots_of_volume
from volumes.admin.related import export_table
from volumes.health import Health
from volumes.health_selectors import volume_healths, volumes_of_health, volumes_with_health
from volumes.models import Export, Publication, Replica, Volume
from volumes.pending import volume_pending_reason
from volumes.read_models import volume_rows
from volumes.selectors import volumes_visible


def _counts(model: Any, volumes: list[int]) -> dict[int, int]:
    """The number of rows of a model, by volume."""
    rows = model.objects.filter(volume__in=volumes).order_by().values_list("volume")
    return dict(rows.annotate(Count("pk")))


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
    claimed = size_column("claimed_bytes", "claimed by each replica")
    wait = wait_column()
    pending_reason = text_column(volume_pending_reason, "waits for")
    named = named_column("alias", "uuid", "volume")
    unfinished = unfinished_column(volume_pending_reason)
    list_display = [
        "named",
        "health",
        "tenant_link",
        "capacity",
        "replica_count",
        "publication_count",
        "unfinished",
        "created_at",
    ]
    list_filter = [HealthFilter, "state", DeadlineFilter, "provisioning_type", "protocol", "tenant"]
    list_select_related = ["tenant"]
    search_fields = ["alias", "=uuid", "storage_class_name"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "alias",
                    "uuid",
                    "tenant",
                    ("state", "wait", "pending_reason"),
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

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Read health and counts only for the rows of this page. If they were columns of the list's
        query, the database would also compute them for the rows of all previous pages.
        """
        shown = super().get_changelist_instance(request)
        rows = list(shown.result_list)
        keys = [row.pk for row in rows]
        healths = volumes_with_health().filter(pk__in=keys).values_list("pk", "health")
        found, replicas, hosts = dict(healths), _counts(Replica, keys), _counts(Publication, keys)
        for row in rows:
            row.health = found.get(row.pk)
            row.replica_number = replicas.get(row.pk, 0)
            row.publication_number = hosts.get(row.pk, 0)
        shown.result_list = rows
        return shown

    def facts(self, volume: Any, tenant_id: str | None) -> list[Fact]:
        picture = f"{reverse('admin:topology')}?volume={volume.uuid}"
        return [
            ("Health", self.health(volume)),
            ("Why", volume.reason),
            ("Capacity", size(volume.capacity_bytes)),
            ("Tenant", link(volume.tenant, volume.tenant.name)),
            ("Where", format_html('<a href="{}">show on the topology</a>', picture)),
        ]

    def tables(self, volume: Volume, tenant_id: str | None) -> list[Table]:
        tasks = of_tenant(Task.objects.filter(volume_id=volume.uuid), tenant_id)
        return [
            replicas_of_volume(volume),
            hosts_of_volume(volume),
            export_table(Export.objects.filter(replica__volume=volume)),
            snapshots_of_volume(volume),
            task_table(tasks, list_url(Task, volume_id=volume.uuid)),
            event_table(f"volume:{volume.uuid}", tenant_id),
        ]

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Add the reason of the health, and store it on the row, because unfold calls the method of
        a field several times.
        """
        volume: Any = super().get_object(request, object_id, from_field)
        if volume is not None:
            found = volume_healths(volume_rows(volumes_visible(None).filter(pk=volume.pk)))
            waits = volume_pending_reason(volume)
            volume.health = found[volume.pk].health if found else None
            volume.reason = (found[volume.pk].reason if found else waits) or NONE
        return volume

    @admin.display(description="health")
    def health(self, volume: Any) -> str:
        return badge(volume.health or Health.UNKNOWN)

    @admin.display(description="replicas")
    def replica_count(self, volume: Any) -> int:
        return int(volume.replica_number)

    @admin.display(description="published")
    def publication_count(self, volume: Any) -> int:
        return int(volume.publication_number)

    @admin.display(description="tasks")
    def tasks(self, volume: Volume) -> str:
        return list_link(Task, "tasks", volume_id=volume.uuid)
