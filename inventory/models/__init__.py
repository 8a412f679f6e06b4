"""Models of the pool: storage nodes (backends) with SSDs and portals, and the hosts that use
them.
"""

from inventory.models.backend import Backend, BackendAddress
from inventory.models.host import DRIVER_VERSION, ClientType, Host
from inventory.models.license import License, LicenseType
from inventory.models.liveness import LATE_FACTOR, Liveness
from inventory.models.pool import Pool, Recovery
from inventory.models.portal import Portal
from inventory.models.released_slot import ReleasedSlot
from inventory.models.sample import InventorySample
from inventory.models.ssd import Ssd
from inventory.models.syslog import SyslogRecord, SyslogServer, SyslogSource

__all__ = [
    "DRIVER_VERSION",
    "LATE_FACTOR",
    "Backend",
    "BackendAddress",
    "ClientType",
    "Host",
    "InventorySample",
    "License",
    "LicenseType",
    "Liveness",
    "Pool",
    "Portal",
    "Recovery",
    "ReleasedSlot",
    "Ssd",
    "SyslogRecord",
    "SyslogServer",
    "SyslogSource",
]
