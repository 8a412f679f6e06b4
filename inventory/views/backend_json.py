"""A storage node as clients see it (reference, "List Backends")."""

from functools import lru_cache
from typing import Any

import orjson

from inventory.models.liveness import Liveness
from inventory.read_models import BackendSummary, PortalRow
from provisioner.common.times import epoch_milliseconds

MOST_NODES = 4_000
"""The JSON of this number of nodes is kept, about 4 KB each. Longer lists are slower."""
OPTIONAL = ("rack", "zone", "region", "lastProbTime", "hostId", "waitsFor", "healthReason")
"""Fields of a backend that may be unset."""
OF_POOL = (
    "totalCapacity",
    "availableCapacity",
    "numVolumes",
    "totalBW",
    "availableBW",
    "totalIOPS",
    "availableIOPS",
    "numberOfSSDs",
)
"""Fields of a backend that callers bound to a tenant do not see."""


@lru_cache(maxsize=MOST_NODES)
def backend_json(summary: BackendSummary, is_tenants: bool) -> orjson.Fragment:
    """Return a backend in the format of "List Backends" in the reference, as JSON. Unset fields are
    omitted. ``is_tenants``: the caller is bound to a tenant.

    The result is kept with the summary, which is the same object while nothing changes.
    """
    backend = summary.backend
    probe_at = backend.last_probe_at
    state = Liveness.AVAILABLE if summary.is_available else Liveness.UNAVAILABLE
    fields = {
        "persistentID": backend.persistent_id,
        "mgmtIPs": summary.mgmt_ips,
        "mgmtPort": backend.mgmt_port,
        "rack": backend.rack,
        "zone": backend.zone,
        "region": backend.region,
        "inUse": backend.in_use,
        "state": state.value,
        "lastProbTime": epoch_milliseconds(probe_at) if probe_at else None,
        "probeInterval": backend.probe_interval,
        "version": backend.version,
        "targetDriverVersion": backend.target_driver_version,
        "certified": backend.certified,
        "portals": [portal_json(portal) for portal in summary.portals],
        "name": backend.name,
        "hostId": backend.host_id,
        "authenticationMode": backend.authentication_mode,
        "waitsFor": summary.pending_reason or None,
        "health": backend.health,
        "healthReason": summary.health_reason or None,
        "totalCapacity": summary.capacity_bytes,
        "availableCapacity": summary.free_bytes,
        "numVolumes": backend.volumes,
        "totalBW": backend.total_bw,
        "availableBW": backend.total_bw - backend.used_bw,
        "totalIOPS": backend.total_iops,
        "availableIOPS": backend.total_iops - backend.used_iops,
        "numberOfSSDs": summary.ssds,
    }
    for name in OPTIONAL:
        if fields[name] is None:
            del fields[name]
    if is_tenants:
        fields = {name: value for name, value in fields.items() if name not in OF_POOL}
    return orjson.Fragment(orjson.dumps(fields))


def portal_json(portal: PortalRow) -> dict[str, Any]:
    return {"ip": portal.ip, "port": portal.port, "transport": portal.transport}
