"""The pool: storage nodes (backends) with their SSDs and portals, and the hosts that use them."""

from inventory.models.backend import Backend, BackendAddress
from inventory.models.host import ClientType, Host
from inventory.models.liveness import LATE_FACTOR, Liveness
from inventory.models.portal import Portal
from inventory.models.ssd import Ssd

__all__ = [
    "LATE_FACTOR",
    "Backend",
    "BackendAddress",
    "ClientType",
    "Host",
    "Liveness",
    "Portal",
    "Ssd",
]
