"""Whose objects a call is about (contract, section 1, "tenant segment")."""

from volumes.models import DEFAULT_TENANT, Tenant
from volumes.services.errors import TenantNotFound


def tenant_scope(*, named: str | None, bound: str | None) -> str | None:
    """The tenant whose objects a look-up may see; None: all. ``named`` in the path, ``bound`` by
    the caller's token.

    :raises TenantNotFound: there is no such tenant, or not for this caller.
    """
    if named is None:
        return bound
    if bound not in {None, named} or not Tenant.objects.filter(pk=named).exists():
        raise TenantNotFound.of(named)
    return named


def tenant_for_create(*, named: str | None, bound: str | None) -> str:
    """The tenant that a new object belongs to.

    :raises TenantNotFound: there is no such tenant, or not for this caller.
    """
    return tenant_scope(named=named, bound=bound) or DEFAULT_TENANT
