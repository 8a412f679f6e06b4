"""Stores the state that was read from a node."""

import datetime as dt
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, Value
from django.db.models.functions import Greatest

from inventory.models import Backend, Portal, Ssd
from inventory.nodes import wire
from inventory.nodes.client import NodeRefused, NodeUnreachable
from inventory.services.node.clients import node_client
from inventory.services.node.settings import unavailable_at
from provisioner.common import clock

log = logging.getLogger(__name__)

READ_SECONDS = 5.0


def backend_refresh(*, persistent_id: str) -> None:
    """Read a node: capacity, SSDs, portals, versions. If it cannot be read, nothing changes."""
    backend = Backend.objects.filter(pk=persistent_id).first()
    if backend is None:
        return
    read_at = clock.now()
    try:
        node = node_client(backend).read_node(timeout=READ_SECONDS)
    except (NodeRefused, NodeUnreachable) as error:
        log.warning("a node cannot be read", extra={"backend": persistent_id, "reason": str(error)})
        return
    reading_store(persistent_id=persistent_id, node=node, read_at=read_at)


def reading_store(*, persistent_id: str, node: wire.Node, read_at: dt.datetime) -> bool:
    """Store the state that a node reported. This counts as a heartbeat. ``read_at``: when the
    reading started.

    Returns False and stores nothing if another node answered, or if a later reading is already
    stored, unless that one lies in the future. Locks SSDs by key and then the backend, in the same
    order as claims.
    """
    if node.persistent_id != persistent_id:
        log.warning(
            "another node answers at the address of a backend",
            extra={"backend": persistent_id, "found": node.persistent_id},
        )
        return False
    with transaction.atomic(durable=True):
        known = list(
            Ssd.objects.select_for_update().filter(backend_id=persistent_id).order_by("pk")
        )
        is_newest = Q(refreshed_at__lt=read_at) | clock.is_impossible("refreshed_at")
        stored = Backend.objects.filter(is_newest, pk=persistent_id).update(
            **node_facts(node) | never_below_claims(node.total_iops, node.total_bw),
            probe_interval=settings.ENVIRONMENT.probe_interval_seconds,
            available_until=unavailable_at(read_at),
            unanswered_since=None,
            call_error="",
            refreshed_at=read_at,
        )
        if stored:
            _store_ssds(persistent_id, known, node.ssds)
            _store_portals(persistent_id, node.portals)
    return bool(stored)


def node_facts(node: wire.Node) -> dict[str, Any]:
    """The columns of a backend that its node determines, except the totals."""
    return {
        "name": node.name,
        "version": node.version,
        "target_driver_version": node.target_driver_version,
        "certified": node.certified,
        "authentication_mode": node.authentication_mode[:16],
        "boot_id": node.boot_id[:64],
        "expands_spans_online": node.expands_spans_online,
        "enforces_limits": node.enforces_limits,
    }


def never_below_claims(total_iops: int, total_bw: int) -> dict[str, Any]:
    """Return the totals of a backend for an UPDATE.

    A node may report less capacity than its replicas already claim. Then the total is set to the
    claims, so that nothing is free and no replica is placed there. Check constraints refuse a
    smaller total.
    """
    return {
        "total_iops": Greatest(Value(total_iops), F("used_iops")),
        "total_bw": Greatest(Value(total_bw), F("used_bw")),
    }


def new_ssds(persistent_id: str, ssds: Iterable[wire.Ssd]) -> list[Ssd]:
    """Unsaved rows for these drives."""
    unique = {ssd.ssd_id: ssd for ssd in ssds}
    return [
        Ssd(
            backend_id=persistent_id,
            ssd_id=ssd.ssd_id,
            name=ssd.name,
            capacity_bytes=ssd.capacity,
            block_size=_only_block_size(ssd),
        )
        for ssd in unique.values()
    ]


def _only_block_size(ssd: wire.Ssd) -> int | None:
    return ssd.block_sizes[0] if len(ssd.block_sizes) == 1 else None


def new_portals(persistent_id: str, portals: Iterable[wire.Portal]) -> list[Portal]:
    """Unsaved rows for these portals."""
    unique = dict.fromkeys((p.ip[:255], p.port, p.transport[:16]) for p in portals)
    return [
        Portal(backend_id=persistent_id, ip=ip, port=port, transport=transport)
        for ip, port, transport in unique
    ]


def _store_ssds(persistent_id: str, known: Sequence[Ssd], reported: Sequence[wire.Ssd]) -> None:
    """Update the drives. ``known`` is locked. A drive that has disappeared but is in use stays,
    with ``present`` False.
    """
    news = {ssd.ssd_id: ssd for ssd in reported}
    for ssd in known:
        report = news.pop(ssd.ssd_id, None)
        if report is None and not ssd.used_bytes:
            ssd.delete()
            continue
        before = (ssd.present, ssd.name, ssd.capacity_bytes, ssd.block_size)
        ssd.present = report is not None
        if report is not None:
            ssd.name = report.name
            ssd.capacity_bytes = max(report.capacity, ssd.used_bytes)
            ssd.block_size = _only_block_size(report)
        if before != (ssd.present, ssd.name, ssd.capacity_bytes, ssd.block_size):
            ssd.save(update_fields=["present", "name", "capacity_bytes", "block_size"])
    # a concurrent reading may have inserted the same drives
    Ssd.objects.bulk_create(new_ssds(persistent_id, news.values()), ignore_conflicts=True)


def _store_portals(persistent_id: str, reported: Sequence[wire.Portal]) -> None:
    """Update the portals. The caller has locked the backend's row."""
    wanted = {(p.ip, p.port, p.transport): p for p in new_portals(persistent_id, reported)}
    for portal in Portal.objects.filter(backend_id=persistent_id):
        if wanted.pop((portal.ip, portal.port, portal.transport), None) is None:
            portal.delete()
    Portal.objects.bulk_create(wanted.values())
