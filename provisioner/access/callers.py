"""Who calls: roles, and the caller of a request."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a caller may do (contract, section 2)."""

    ADMIN = "ADMIN"
    MONITOR = "MONITOR"
    STORAGE = "STORAGE"
    NODE = "NODE"
    HOST = "HOST"


@dataclass(frozen=True)
class Caller:
    """An authenticated caller; DRF's ``request.user``.

    ``tenant_id``: other tenants' objects are not seen at all. ``node_id``: the one node whose
    probes a ``NODE`` token may send; ``speaks_for_all_nodes``: it may send those of any.
    """

    name: str
    roles: frozenset[Role]
    tenant_id: str | None = None
    node_id: str | None = None
    speaks_for_all_nodes: bool = False

    is_authenticated = True

    @property
    def is_admin(self) -> bool:
        return Role.ADMIN in self.roles

    def speaks_for(self, node_id: str) -> bool:
        """Whether it may send the probes of this node."""
        return self.is_admin or self.speaks_for_all_nodes or self.node_id == node_id
