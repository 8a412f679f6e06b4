"""Console pages of tenants."""

from django.contrib import admin

from events.admin import event_table
from provisioner.common.admin import ReadOnlyAdmin, list_url, named_column, share_column
from provisioner.common.detail_pages import Fact, Table
from provisioner.common.display import number, share, size
from tasks.admin import task_table
from tasks.models import Task
from volumes.admin.related import volume_table
from volumes.models import Tenant, Volume


@admin.register(Tenant)
class TenantAdmin(ReadOnlyAdmin):
    """Tenants and their budgets. ``/tenants`` sets the budgets."""

    capacity_used = share_column("used_bytes", "capacity_bytes", "capacity used", size)
    named = named_column("name", "tenant_id", "tenant")
    list_display = [
        "named",
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

    def facts(self, tenant: Tenant, tenant_id: str | None) -> list[Fact]:
        return [
            ("Capacity used", share(tenant.used_bytes, tenant.capacity_bytes, size)),
            ("Volumes", number(tenant.volumes.count())),
            ("Snapshots", number(tenant.snapshots.count())),
        ]

    def tables(self, tenant: Tenant, tenant_id: str | None) -> list[Table]:
        tasks = Task.objects.filter(tenant_id=tenant.pk)
        every = list_url(Volume, tenant__tenant_id__exact=tenant.pk)
        return [
            volume_table("Largest volumes", tenant.volumes.all(), every),
            task_table(tasks, list_url(Task, tenant_id=tenant.pk)),
            event_table(f"tenant:{tenant.pk}", tenant_id),
        ]
