"""Tenants and their budgets."""

from typing import ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from provisioner.access.views import ApiViewSet
from provisioner.common.api import success
from provisioner.common.endpoint_spec import Operation
from provisioner.common.moment import one_moment
from provisioner.common.parsing import parse_body
from volumes.selectors import pool_totals, tenant_desires, tenants_visible
from volumes.services.tenant import (
    require_same_tenant,
    tenant_create,
    tenant_delete,
    tenant_update,
)
from volumes.views.inputs import TenantBudgetInput, TenantInput
from volumes.views.outputs import TenantIdOutput, TenantOutput
from volumes.views.presentation import TENANT_COLUMNS, tenant_json


class TenantsViewSet(ApiViewSet):
    """Reference, "Multi-Tenancy Management"."""

    resource: ClassVar[str] = "tenants"
    operations: ClassVar = {
        "list": Operation("Get Tenants", answer=[TenantOutput]),
        "create": Operation(
            "Create Tenant",
            "TenantAlreadyExists NoBackends",
            body=TenantInput,
            example={"name": "Acme", "capacity": 1000, "totalIOPS": 0, "totalBW": 0},
            adds=TenantIdOutput,
        ),
        "update": Operation(
            "Modify Tenant",
            "TenantNotFound NoBackends",
            body=TenantBudgetInput,
            example={"capacity": 2000, "totalIOPS": 0, "totalBW": 0},
        ),
        "destroy": Operation("Delete Tenant", "TenantNotFound NoBackends TenantHasVolumes"),
    }

    @one_moment()
    def list(self, request: Request) -> Response:
        bound = self.caller.tenant_id
        desires, pool = tenant_desires(bound), pool_totals()
        rows = tenants_visible(bound).values_list(*TENANT_COLUMNS, named=True)
        return Response(
            [tenant_json(row, desires.get(row.tenant_id, (0, 0)), pool) for row in rows]
        )

    def create(self, request: Request) -> Response:
        tenant = tenant_create(**parse_body(TenantInput, request))
        return success(tenantId=tenant.tenant_id)

    def update(self, request: Request, tenant_id: str) -> Response:
        fields = {"tenant_id": tenant_id} | parse_body(TenantBudgetInput, request)
        require_same_tenant(tenant_id, fields["tenant_id"])
        tenant_update(**fields)
        return success()

    def destroy(self, request: Request, tenant_id: str) -> Response:
        tenant_delete(tenant_id=tenant_id)
        return success()
