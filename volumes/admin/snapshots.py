"""Console pages of snapshots."""

from django.contrib import admin

from events.admin import event_table
from provisioner.common.admin import (
    DeadlineFilter,
    ReadOnlyAdmin,
    link,
    link_column,
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
from volumes.admin.inlines import SubVolumeInline
from volumes.admin.related import volume_table
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

    def facts(self, snapshot: Snapshot, tenant_id: str | None) -> list[Fact]:
        node = snapshot.replica.backend
        return [
            ("State", badge(snapshot.state)),
            ("Volume", link(snapshot.volume, snapshot.volume.alias)),
            ("Tenant", link(snapshot.tenant, snapshot.tenant.name)),
            ("Node", link(node, node.name) if node else NONE),
            ("Capacity", size(snapshot.capacity_bytes)),
            ("Claims", size(snapshot.claimed_bytes)),
        ]

    def tables(self, snapshot: Snapshot, tenant_id: str | None) -> list[Table]:
        tasks = of_tenant(Task.objects.filter(volume_id=snapshot.volume.uuid), tenant_id)
        volumes = of_tenant(snapshot.snapshot_volumes.all(), tenant_id)
        return [
            volume_table("Volumes of this snapshot", volumes),
            task_table(tasks, list_url(Task, volume_id=snapshot.volume.uuid)),
            event_table(f"snapshot:{snapshot.uuid}", tenant_id),
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
