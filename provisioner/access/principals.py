"""Roles, and the caller of a request."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """The role of a caller. The table in :mod:`provisioner.access.permissions` defines its
    rights.
    """

    ADMIN = "ADMIN"
    MONITOR = "MONITOR"
    STORAGE = "STORAGE"
    NODE = "NODE"
    HOST = "HOST"


class WrongBinding(ValueError):
    """The tenant, node or host that a caller is bound to breaks a rule."""

    def __init__(self, name: str, rule: str) -> None:
        super().__init__(f"{name} {rule}")
        self.name = name
        self.rule = rule


def bindings_check_empty(**bindings: str | None) -> None:
    """Check that no binding is empty. An empty id marks objects of the whole pool, and None means
    that the caller is not bound.

    :raises WrongBinding: names the binding.
    """
    for name, bound in bindings.items():
        if bound == "":
            raise WrongBinding(name, "must not be empty: omit it if there is no such binding")


_OF_HOSTS = frozenset({Role.HOST})


@dataclass(frozen=True)
class Caller:
    """An authenticated caller, DRF's ``request.user``.

    ``tenant_id``: the caller sees only objects of this tenant. ``node_id``: the only node for which
    a ``NODE`` token may send probes. ``speaks_for_all_nodes``: the caller may send the probes of
    any node. ``host_id``: the only host for which a ``HOST`` token may act. ``user``: the local
    user whose password was sent, or who requested the token; empty: none.

    :raises WrongBinding: a binding is empty.
    """

    name: str
    roles: frozenset[Role]
    tenant_id: str | None = None
    node_id: str | None = None
    host_id: str | None = None
    speaks_for_all_nodes: bool = False
    user: str = ""

    is_authenticated = True

    def __post_init__(self) -> None:
        bindings_check_empty(tenant=self.tenant_id, node=self.node_id, host=self.host_id)

    @property
    def acts_as(self) -> frozenset[Role]:
        """The effective roles. A caller bound to a host has only HOST; others never have HOST."""
        return self.roles & _OF_HOSTS if self.host_id is not None else self.roles - _OF_HOSTS

    @property
    def type(self) -> str:
        """The kind of caller: a host, a node, or any other caller."""
        return "host" if self.host_id else "node" if self.node_id else "caller"

    @property
    def lane_key(self) -> tuple[str, ...]:
        """What all callers that share limits of concurrent requests have in common: the host, the
        node or the local user. A local user may give tokens any name.
        """
        if self.host_id is not None:
            return "host", self.host_id
        if self.node_id is not None:
            return "node", self.node_id
        if self.user:
            return "user", self.user
        return "caller", self.name, self.tenant_id or ""

    @property
    def is_admin(self) -> bool:
        return Role.ADMIN in self.acts_as

    def speaks_for(self, node_id: str) -> bool:
        """Whether the caller may send the probes of this node."""
        return self.is_admin or self.speaks_for_all_nodes or self.node_id == node_id
