"""The pool: storage nodes (backends) with their SSDs and portals, and the hosts that use them."""

from inventory.models.backend import Backend, BackendAddress
from inventory.models.host import ClientType, Host
from inventory.models.portal import Portal
from inventory.models.ssd import Ssd

__all__ = ["Backend", "BackendAddress", "ClientType", "Host", "Portal", "Ssd"]
