"""The rows that a user of the console may see who is bound to a tenant. Depends on no model."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

Row = TypeVar("Row", bound=Model)

ROWS: Mapping[str, Callable[[str], Q]] = {
    # the portals of nodes are where hosts connect to volumes
    "inventory.backend": lambda tenant: Q(),
    # a host without a tenant serves all of them
    "inventory.host": lambda tenant: Q(tenant_id__in=("", tenant)),
    "volumes.tenant": lambda tenant: Q(pk=tenant),
    "volumes.volume": lambda tenant: Q(tenant_id=tenant),
    "volumes.snapshot": lambda tenant: Q(tenant_id=tenant),
    "volumes.replica": lambda tenant: Q(volume__tenant_id=tenant),
    "volumes.publication": lambda tenant: Q(volume__tenant_id=tenant),
    "volumes.export": lambda tenant: Q(replica__volume__tenant_id=tenant),
    "tasks.task": lambda tenant: Q(tenant_id=tenant),
    "events.event": lambda tenant: Q(tenant_id=tenant),
}
"""By model: the rows that users of a tenant see. All other models concern the pool, and they see
none of their rows. The API allows the same (``provisioner.access.permissions.OF_TENANTS``).
"""


def of_tenant(rows: QuerySet[Row], tenant_id: str | None) -> QuerySet[Row]:
    """Keep the rows that a user of this tenant may see. None: all rows."""
    if tenant_id is None:
        return rows
    rule = ROWS.get(rows.model._meta.label_lower)
    return rows.filter(rule(tenant_id)) if rule else rows.none()


def is_of_tenants(permission: str) -> bool:
    """Whether users of a tenant may have this permission of Django. It must be the permission to
    view a model in ROWS.
    """
    app, _, action = permission.partition(".")
    return f"{app}.{action.removeprefix('view_')}" in ROWS


def tenant_of(request: HttpRequest) -> str | None:
    """Return the tenant that the user of the console is bound to. None: the user sees the whole
    pool.
    """
    # set by provisioner.access.admin_login.AdministrationPages
    return cast("str | None", cast("Any", request).tenant_id)
