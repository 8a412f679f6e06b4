"""The base of all views of tenants' objects."""

from django.db.models import QuerySet

from provisioner.access.views import ApiViewSet
from volumes.models import Snapshot
from volumes.read_models import VolumesWanted
from volumes.selectors import snapshots_of_host, snapshots_visible
from volumes.services.host.rights import require_volume_of_host
from volumes.services.tenant_scope import tenant_for_create, tenant_scope


class TenantViewSet(ApiViewSet):
    """A resource that exists as ``/x`` and as ``/{tenantId}/x``."""

    @property
    def tenant_scope(self) -> str | None:
        """The tenant whose objects the caller sees; None: all."""
        return tenant_scope(named=self.kwargs.get("tenant"), bound=self.caller.tenant_id)

    @property
    def volumes(self) -> VolumesWanted:
        """The volumes that the caller sees. A host sees those that are published to it."""
        return VolumesWanted(tenant_id=self.tenant_scope, own_host_id=self.caller.host_id)

    @property
    def snapshots(self) -> QuerySet[Snapshot]:
        """The snapshots that the caller sees. A host sees those of the volumes that it sees."""
        return snapshots_of_host(snapshots_visible(self.tenant_scope), self.caller.host_id)

    def scope_of_volume(self, volume_uuid: str) -> str | None:
        """Return :attr:`tenant_scope` for a call about a volume. If the caller acts for a host, the
        volume must be published to that host.

        :raises VolumeNotExists: the caller acts for a host that the volume is not published to.
        """
        scope = self.tenant_scope
        require_volume_of_host(volume_uuid, self.caller.host_id, tenant_id=scope)
        return scope

    def tenant_scope_of(self, in_body: str | None) -> str | None:
        """Return :attr:`tenant_scope` for a call whose body may name the tenant too."""
        named = self.kwargs.get("tenant") or in_body
        return tenant_scope(named=named, bound=self.caller.tenant_id)

    def tenant_for_create(self, in_body: str | None = None) -> str:
        """Return the tenant of a new object. The path, the body or the token may name it."""
        named = self.kwargs.get("tenant") or in_body
        return tenant_for_create(named=named, bound=self.caller.tenant_id)
