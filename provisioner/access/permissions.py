"""The permission table: which operations each role may call."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from provisioner.access.principals import Caller, Role

_ADMIN = frozenset({Role.ADMIN})
_READ = _ADMIN | {Role.MONITOR}
_STORAGE = _ADMIN | {Role.STORAGE}
_STORAGE_READ = _READ | {Role.STORAGE}
_HOST_READ = _STORAGE_READ | {Role.HOST}
_HOST = _STORAGE | {Role.HOST}

ALLOWED: dict[str, frozenset[Role]] = {
    "backends.create": _ADMIN,
    "backends.update": _ADMIN,
    "backends.destroy": _ADMIN,
    "backends.list": _HOST_READ,
    "backends.retrieve": _HOST_READ,
    "drain.create": _ADMIN,
    "drain.destroy": _ADMIN,
    "drain.retrieve": _READ,
    "maintenance.retrieve": _READ,
    "inventory.list": _READ,
    "inventory.destroy": _ADMIN,
    "license.list": _READ,
    "license.create": _ADMIN,
    "probe.create": _ADMIN | {Role.NODE},
    "auth_server.create": _ADMIN,
    "auth_server.destroy": _ADMIN,
    "auth_server.list": _READ,
    "syslog.list": _READ,
    "forward_log.create": _ADMIN | {Role.HOST},
    "tenants.create": _ADMIN,
    "tenants.update": _ADMIN,
    "tenants.destroy": _ADMIN,
    "tenants.list": _STORAGE_READ,
    "volumes.create": _STORAGE,
    "volumes.update": _STORAGE,
    "volumes.destroy": _STORAGE,
    "volumes.list": _HOST_READ,
    "volumes.retrieve": _HOST_READ,
    "volumes.by_alias": _HOST_READ,
    "volumes.extended": _HOST_READ,
    "snapshots.create": _STORAGE,
    "snapshots.destroy": _STORAGE,
    "snapshots.list": _HOST_READ,
    "snapshots.retrieve": _HOST_READ,
    "snapshots.by_volume": _HOST_READ,
    "snapshots.by_alias": _HOST_READ,
    "snapshot_volumes.create": _STORAGE,
    "clone_volume.create": _STORAGE,
    "replicas.create": _HOST,
    "replicas.mark": _HOST,
    "replicas.confirm": _HOST,
    "replicas.report": _HOST,
    "migrate_volume.create": _STORAGE,
    "hosts.list": _STORAGE_READ,
    "hosts.destroy": _ADMIN,
    "host_probe.create": _HOST,
    "publish.create": _HOST,
    "connect.create": _STORAGE,
    "disconnect.create": _STORAGE,
    "unpublish.create": _HOST,
    "targets.list": _HOST_READ,
    "tasks.list": _HOST_READ,
    "tasks.update": _HOST,
    "tasks.destroy": _STORAGE,
    "events.list": _READ,
    "metrics.list": _READ,
    "token.create": frozenset(Role),
    "revoked_tokens.list": _ADMIN,
    "revoked_tokens.create": _ADMIN,
    "users.list": _ADMIN,
}

OF_TENANTS = frozenset(
    {
        "tenants.list",
        "volumes.create",
        "volumes.update",
        "volumes.destroy",
        "volumes.list",
        "volumes.retrieve",
        "volumes.by_alias",
        "volumes.extended",
        "snapshots.create",
        "snapshots.destroy",
        "snapshots.list",
        "snapshots.retrieve",
        "snapshots.by_volume",
        "snapshots.by_alias",
        "snapshot_volumes.create",
        "clone_volume.create",
        "replicas.create",
        "replicas.mark",
        "replicas.confirm",
        "replicas.report",
        "migrate_volume.create",
        "hosts.list",
        "host_probe.create",
        "publish.create",
        "unpublish.create",
        "connect.create",
        "disconnect.create",
        "targets.list",
        "tasks.list",
        "tasks.update",
        "tasks.destroy",
        "events.list",
        # the portals of nodes are where hosts connect to volumes
        "backends.list",
        "backends.retrieve",
        # a user's token is bound to the user's tenant
        "token.create",
    }
)
"""The operations that a user or token bound to a tenant may call. They show only objects of that
tenant. All other operations concern the pool.

The token of a host may call the operations of the role HOST for its own host, whether or not it is
bound to a tenant.
"""


def is_allowed(line: str, caller: Caller) -> bool:
    """Whether the caller may call an operation. ``line``: its entry in the table, as
    ``resource.action``. An operation without an entry is refused to everyone.
    """
    is_tenants = caller.tenant_id is not None and caller.host_id is None
    if is_tenants and line not in OF_TENANTS:
        return False
    return bool(ALLOWED.get(line, frozenset()) & caller.acts_as)


class RoleAllows(BasePermission):
    """Allows an operation according to the table. An operation without an entry is refused to
    everyone.

    A method that the path does not support is allowed, so that callers get 405 and not 403.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if view.open_to_all:
            return True
        if not isinstance(request.user, Caller):
            return False
        if view.action not in view.action_map.values():
            return True
        line = f"{view.resource}.{view.action}"
        self.message = _refusal(line)
        return is_allowed(line, request.user)


def _refusal(line: str) -> str:
    roles = ", ".join(sorted(ALLOWED.get(line, ())))
    bound = "" if line in OF_TENANTS else ", and not bound to a tenant"
    return f"this operation is for callers with one of the roles {roles}{bound}"
