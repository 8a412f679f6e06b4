"""Administration pages of tenants."""

from django.contrib import admin

from provisioner.common.admin import ReadOnlyAdmin, named_column, share_column
from provisioner.common.display import size
from volumes.models import Tenant


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
