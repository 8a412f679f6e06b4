"""The pool's syslog settings, as a node has them (contract, sections 3 and 10).

The settings of one node count: of the first that has any, and then of the last that said that it
changed them. When that node leaves the pool they stay until another one was read.
"""

import datetime as dt
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone

from inventory.models import Backend, SyslogServer, SyslogSource
from inventory.nodes.client import NodeRefused, NodeUnreachable, call_all
from inventory.nodes.wire import SyslogServer as WireServer
from inventory.services.nodes import node_client
from provisioner.common.queue import enqueue_on_commit

log = logging.getLogger(__name__)

READ_SECONDS = 5.0
READ_TOGETHER_SECONDS = 12.0
READ_AT_MOST = 16


def syslogs_ask_first(backend: Backend) -> None:
    """Within the transaction that adds a node: have it read if no settings are known."""
    if SyslogServer.objects.exists():
        return
    Backend.objects.filter(pk=backend.pk).update(syslogs_wanted_at=timezone.now())
    enqueue_on_commit("inventory.jobs.read_syslogs", backend.pk)


def syslogs_read(*, persistent_id: str) -> None:
    """Read the settings of a node that were asked for; if it does not answer, the poll does it."""
    _read(list(Backend.objects.filter(pk=persistent_id, syslogs_wanted_at__isnull=False)))


def syslogs_poll() -> None:
    """Read what was asked for and never read; find settings where their node left the pool.

    At most READ_AT_MOST nodes of either kind, chosen by chance: those that fail bar nobody's way.
    """
    nodes = Backend.objects.available().order_by("?").prefetch_related("addresses")
    _read(list(nodes.filter(syslogs_wanted_at__isnull=False)[:READ_AT_MOST]))
    if _orphaned():
        read_at = timezone.now()
        answered = _read(list(nodes[:READ_AT_MOST]))
        if answered and _orphaned():
            _store(None, (), read_at)


def _orphaned() -> bool:
    """Settings are known whose node is not in the pool."""
    source = SyslogSource.objects.filter(backend__isnull=False)
    return SyslogServer.objects.exists() and not source.exists()


def _read(backends: list[Backend]) -> int:
    """How many answered."""
    read_at = timezone.now()
    calls = {
        backend.pk: partial(node_client(backend).read_syslogs, timeout=READ_SECONDS)
        for backend in backends
    }
    answered = 0
    for persistent_id, outcome in call_all(calls, timeout_seconds=READ_TOGETHER_SECONDS).items():
        if isinstance(outcome, NodeRefused | NodeUnreachable):
            extra = {"backend": persistent_id, "reason": str(outcome)}
            log.warning("syslog settings not read", extra=extra)
            continue
        answered += 1
        _store(persistent_id, outcome.servers, read_at)
    return answered


def _store(persistent_id: str | None, servers: tuple[WireServer, ...], read_at: dt.datetime) -> None:
    """Replace the settings, if those of this node count; None: there are none any more.

    What a node has not counts only if its settings were the ones; what it has, also if it was asked
    for, or if nobody in the pool has them.
    """
    with transaction.atomic(durable=True):
        SyslogSource.objects.get_or_create()
        source = SyslogSource.objects.select_for_update().get()
        backend = Backend.objects.select_for_update().filter(pk=persistent_id).first()
        if persistent_id is not None:
            if backend is None:
                return
            ours = source.backend_id == persistent_id
            wanted = backend.syslogs_wanted_at is not None or source.backend_id is None
            _asked(persistent_id, read_at)
            if not (servers and wanted) and not ours:
                return
        elif source.backend_id is not None:
            return
        _replace({server.url: server for server in servers})
        source.backend = backend if servers else None
        source.read_at = read_at
        source.save(update_fields=["backend", "read_at"])
