"""Storage nodes as lists show them. Clients read the list often, so it is read as plain rows."""

import datetime as dt
from dataclasses import dataclass
from typing import NamedTuple


class BackendRow(NamedTuple):
    """Columns of a :class:`~inventory.models.Backend`, its ``NodeHealth``, when its drain
    started (None: it is not being drained), and the number of its replicas that are READY.
    """

    persistent_id: str
    name: str
    mgmt_port: int
    rack: str | None
    zone: str | None
    region: str | None
    host_id: str | None
    in_use: bool
    version: str
    target_driver_version: str
    certified: bool
    authentication_mode: str
    total_iops: int
    used_iops: int
    total_bw: int
    used_bw: int
    probe_interval: int
    last_probe_at: dt.datetime | None
    created_at: dt.datetime
    available_until: dt.datetime
    unanswered_since: dt.datetime | None
    call_error: str
    refresh_wanted_at: dt.datetime | None
    refreshed_at: dt.datetime
    token_expires_at: dt.datetime
    certificate_ends_at: dt.datetime | None
    clock_ahead_seconds: float
    health: str
    drained_since: dt.datetime | None
    volumes: int


class PortalRow(NamedTuple):
    """An address where a backend's targets listen."""

    ip: str
    port: int
    transport: str


@dataclass(frozen=True, eq=False)
class BackendSummary:
    """A backend with the sums of its present drives, in bytes, at one moment. Two lists have the
    same object for a backend that has not changed.

    ``pending_reason``, ``health_reason``: texts for clients; empty: nothing.
    """

    backend: BackendRow
    mgmt_ips: tuple[str, ...]
    portals: tuple[PortalRow, ...]
    is_available: bool
    pending_reason: str
    health_reason: str
    capacity_bytes: int
    free_bytes: int
    ssds: int
