"""What the views of tenants' objects share."""

from provisioner.access.views import ApiViewSet
from volumes.services.tenant_scope import tenant_for_create, tenant_scope


class TenantViewSet(ApiViewSet):
    """A resource that exists as ``/x`` and as ``/{tenantId}/x``."""

    @property
    def tenant_scope(self) -> str | None:
        return tenant_scope(named=self.kwargs.get("tenant"), bound=self.caller.tenant_id)

    def tenant_scope_of(self, in_body: str | None) -> str | None:
        """As :attr:`tenant_scope`, for a call whose body may name the tenant too."""
        named = self.kwargs.get("tenant") or in_body
        return tenant_scope(named=named, bound=self.caller.tenant_id)

    def tenant_for_create(self, in_body: str | None = None) -> str:
        named = self.kwargs.get("tenant") or in_body
        return tenant_for_create(named=named, bound=self.caller.tenant_id)
