"""The tenant whose objects a call may see or create."""

from volumes.models import DEFAULT_TENANT, Tenant
from volumes.services.errors import TenantNotFound


def tenant_scope(*, named: str | None, bound: str | None) -> str | None:
    """Return the tenant whose objects a look-up may see; None means all tenants.

    ``named`` is the tenant in the path, ``bound`` the tenant of the caller's token.

    :raises TenantNotFound: there is no such tenant, or this caller may not use it.
    """
    if named is None:
        return bound
    if bound not in {None, named} or not Tenant.objects.filter(pk=named).exists():
        raise TenantNotFound.of(named)
    return named


def tenant_for_create(*, named: str | None, bound: str | None) -> str:
    """Return the tenant of a new object. Without ``named`` and ``bound`` it is the default tenant.

    :raises TenantNotFound: there is no such tenant, or this caller may not use it.
    """
    return tenant_scope(named=named, bound=bound) or DEFAULT_TENANT
