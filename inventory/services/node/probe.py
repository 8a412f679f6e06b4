"""Probes of storage nodes (reference, "Probe")."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from typing import Any, cast

from django.conf import settings
from django.db.models import Case, Count, DateTimeField, F, Q, Sum, Value, When
from django.db.models.functions import Coalesce

from inventory.models import Backend
from inventory.nodes.probes import Changes
from inventory.services.node.register import BackendNotFound
from inventory.services.node.settings import unavailable_at
from inventory.services.node.state import never_below_claims
from inventory.services.pool.checks import probe_compare
from provisioner.common import clock
from provisioner.common.queue import enqueue_on_commit

MOST_PORT = 65535


@dataclass(frozen=True, kw_only=True)
class ProbeReport:
    """The content of a probe of a node.

    An agent that does not know them leaves ``boot_id`` None and ``newest_generation`` 0.
    ``sent_at``: the time by the clock of the node, in milliseconds since 1970; 0: unknown.
    ``mgmt_ips``: the management addresses that the node reports.
    """

    persistent_id: str
    version: str
    target_driver_version: str
    certified: bool
    authentication_mode: str
    total_iops: int
    total_bw: int
    total_capacity: int
    number_of_ssds: int
    changes: int
    mgmt_ips: tuple[str, ...] = ()
    mgmt_port: int = 0
    boot_id: str | None = None
    newest_generation: int = 0
    sent_at: int = 0


def backend_probe(*, report: ProbeReport) -> Backend:
    """Record a probe, and return the row of the backend afterwards. This takes two statements,
    because a thousand nodes call it.

    A node that does not answer calls becomes Unavailable in spite of its probes. If it reports
    other addresses, a job looks for it there. If the node is newer than the database, writes are
    barred.

    A job reads the node if it reports changed portals, was restarted, or has other SSDs than the
    stored ones. A job reads its syslog settings if it reports that they changed. If the job is
    lost, the poll does its work.

    :raises BackendNotFound: no such node is in the pool.
    """
    now = clock.now()
    rows = Backend.objects.filter(pk=report.persistent_id)
    rows.update(
        last_probe_at=now,
        available_until=Case(
            When(unanswered_since=None, then=Value(unavailable_at(now))),
            default=F("available_until"),
        ),
        probe_interval=settings.ENVIRONMENT.probe_interval_seconds,
        refresh_wanted_at=_refresh_wanted(report, now),
        syslogs_wanted_at=now if report.changes & Changes.SYSLOGS else F("syslogs_wanted_at"),
        **_facts(report),
        **_clock(report, now),
    )
    present = Q(ssds__present=True)
    backend: Any = rows.annotate(
        ssd_count=Count("ssds", filter=present),
        ssd_bytes=Coalesce(Sum("ssds__capacity_bytes", filter=present), 0),
    ).first()
    if backend is None:
        raise BackendNotFound.of(report.persistent_id)
    if (backend.ssd_count, backend.ssd_bytes) != (report.number_of_ssds, report.total_capacity):
        rows.update(refresh_wanted_at=now)
        backend.refresh_wanted_at = now
    if backend.refresh_wanted_at == now:
        enqueue_on_commit("inventory.jobs.refresh_backend", backend.persistent_id)
    if backend.syslogs_wanted_at == now:
        enqueue_on_commit("inventory.jobs.read_syslogs", backend.persistent_id)
    if backend.unanswered_since:
        _follow(backend, report)
    probe_compare(report.persistent_id, report.newest_generation)
    return cast("Backend", backend)


def _follow(backend: Backend, report: ProbeReport) -> None:
    """Start a job that looks for a node that does not answer, at the addresses that it reports, if
    they are new.
    """
    said = [address for text in report.mgmt_ips if (address := _ip_address(text))]
    is_elsewhere = set(said) - set(backend.mgmt_ips) or report.mgmt_port != backend.mgmt_port
    if said and is_elsewhere and 0 < report.mgmt_port <= MOST_PORT:
        job = "inventory.jobs.follow_addresses"
        enqueue_on_commit(job, backend.persistent_id, " ".join(said), report.mgmt_port)


def _ip_address(text: str) -> str | None:
    """Return the address in its shortest form. None: it is not an IP address."""
    try:
        return ipaddress.ip_address(text).compressed
    except ValueError:
        return None


def _facts(report: ProbeReport) -> dict[str, Any]:
    return {
        "version": report.version,
        "target_driver_version": report.target_driver_version,
        "certified": report.certified,
        "authentication_mode": report.authentication_mode,
        "boot_id": report.boot_id or F("boot_id"),
    } | never_below_claims(report.total_iops, report.total_bw)


def _clock(report: ProbeReport, now: dt.datetime) -> dict[str, float]:
    """Return how far the clock of the node is ahead. After a probe that took long, it looks as if
    the clock were behind.
    """
    ahead = report.sent_at / 1000 - now.timestamp()
    return {"clock_ahead_seconds": ahead} if report.sent_at else {}


def _refresh_wanted(report: ProbeReport, now: dt.datetime) -> dt.datetime | F | Case:
    """The new value of the column: ``now``, or its old value."""
    if report.changes & Changes.PORTALS:
        return now
    if not report.boot_id:
        return F("refresh_wanted_at")
    restarted = When(~Q(boot_id=report.boot_id), then=Value(now))
    return Case(restarted, default=F("refresh_wanted_at"), output_field=DateTimeField())
