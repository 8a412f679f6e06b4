"""Signs of life that storage nodes push (reference, "Probe")."""

import datetime as dt
from dataclasses import dataclass
from typing import Any, cast

from django.conf import settings
from django.db.models import Case, Count, DateTimeField, F, Q, Sum, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from inventory.models import Backend
from inventory.nodes.probes import Changes
from inventory.services.backends import BackendNotFound
from inventory.services.node_settings import silence_ends_at
from inventory.services.pool_checks import probe_compare
from inventory.services.readings import never_below_claims
from provisioner.common.queue import enqueue_on_commit


@dataclass(frozen=True, kw_only=True)
class ProbeReport:
    """What a node says of itself; ``boot_id`` is None where its agent has none to give, and
    ``newest_generation`` 0.
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
    boot_id: str | None = None
    newest_generation: int = 0


def backend_probe(*, report: ProbeReport) -> Backend:
    """The node lives; the row as it is afterwards. Two statements: a thousand nodes call this.
    A node that is newer than the database bars writes.

    The node is read anew, by a job, when it says that its portals changed, when it was started
    anew, or when its SSDs are not those that are stored; its syslog settings when it says that they
    changed. Where the job is lost the poll does it.

    :raises BackendNotFound: no such node in the pool.
    """
    now = timezone.now()
    rows = Backend.objects.filter(pk=report.persistent_id)
    rows.update(
        last_probe_at=now,
        available_until=silence_ends_at(now),
        probe_interval=settings.ENVIRONMENT.probe_interval_seconds,
        refresh_wanted_at=_refresh_wanted(report, now),
        syslogs_wanted_at=now if report.changes & Changes.SYSLOGS else F("syslogs_wanted_at"),
        **_facts(report),
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
    probe_compare(report.persistent_id, report.newest_generation)
    return cast("Backend", backend)


def _facts(report: ProbeReport) -> dict[str, Any]:
    return {
        "version": report.version,
        "target_driver_version": report.target_driver_version,
        "certified": report.certified,
        "authentication_mode": report.authentication_mode,
        "boot_id": report.boot_id or F("boot_id"),
    } | never_below_claims(report.total_iops, report.total_bw)


def _refresh_wanted(report: ProbeReport, now: dt.datetime) -> dt.datetime | F | Case:
    """The column as the UPDATE writes it: ``now``, or what it was."""
    if report.changes & Changes.PORTALS:
        return now
    if not report.boot_id:
        return F("refresh_wanted_at")
    restarted = When(~Q(boot_id=report.boot_id), then=Value(now))
    return Case(restarted, default=F("refresh_wanted_at"), output_field=DateTimeField())
