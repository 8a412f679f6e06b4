"""The syslog settings of the pool, which are read from a node.

The pool uses the settings of one node only: the first node that has any, until an operator chooses
another node (``manage.py syslog_source``). Other nodes cannot change them, so that a single node
cannot redirect all logs. When this node is removed from the pool, its settings stay until another
node has been read.
"""

import datetime as dt
import logging
from collections.abc import Sequence
from functools import partial

from django.db import transaction

from events.kinds import Kind
from events.recording import record
from inventory.models import Backend, SyslogServer, SyslogSource
from inventory.nodes import syslogs
from inventory.nodes.client import NodeRefused, NodeUnreachable, call_all
from inventory.services.node.clients import node_client
from provisioner.common import clock
from provisioner.common.queue import enqueue_on_commit

log = logging.getLogger(__name__)

READ_SECONDS = 5.0
READ_TOGETHER_SECONDS = 12.0
READ_AT_MOST = 16


def syslogs_request_first(backend: Backend) -> None:
    """Request to read the settings of the new node if no settings are known. Runs in the
    transaction that adds the node.
    """
    if SyslogServer.objects.exists():
        return
    Backend.objects.filter(pk=backend.pk).update(syslogs_wanted_at=clock.now())
    enqueue_on_commit("inventory.jobs.read_syslogs", backend.pk)


def syslog_source_choose(*, persistent_id: str) -> bool:
    """Use the settings of this node as soon as they are read. Returns False if it is not in the
    pool.
    """
    with transaction.atomic(durable=True):
        rows = Backend.objects.select_for_update().filter(pk=persistent_id)
        if not rows.update(syslogs_wanted_at=clock.now()):
            return False
        source = _locked_source()
        source.backend_id = persistent_id
        source.save(update_fields=["backend"])
        enqueue_on_commit("inventory.jobs.read_syslogs", persistent_id)
    return True


def syslogs_read(*, persistent_id: str) -> None:
    """Read the settings of the node, if they are due. If it does not answer, the poll retries."""
    _read(list(Backend.objects.filter(pk=persistent_id, syslogs_wanted_at__isnull=False)))


def syslogs_poll() -> None:
    """Read settings that are due. If the node of the known settings was removed from the pool, look
    for new settings.

    At most READ_AT_MOST nodes of either kind are read, chosen at random, so that failing nodes do
    not block the others.
    """
    nodes = Backend.objects.available().order_by("?").prefetch_related("addresses")
    _read(list(nodes.filter(syslogs_wanted_at__isnull=False)[:READ_AT_MOST]))
    if _orphaned():
        answered = _read(list(nodes[:READ_AT_MOST]))
        if answered and _orphaned():
            _forget()


def _orphaned() -> bool:
    """Whether settings are known but their node is not in the pool."""
    source = SyslogSource.objects.filter(backend__isnull=False)
    return SyslogServer.objects.exists() and not source.exists()


def _read(backends: list[Backend]) -> int:
    """Read the settings of these nodes. Returns how many nodes answered."""
    read_at = clock.now()
    calls = {
        backend.pk: partial(node_client(backend).read_syslogs, timeout=READ_SECONDS)
        for backend in backends
    }
    answered = 0
    for persistent_id, outcome in call_all(calls, timeout_seconds=READ_TOGETHER_SECONDS).items():
        if isinstance(outcome, NodeRefused | NodeUnreachable):
            extra = {"backend": persistent_id, "reason": str(outcome)}
            log.warning("the syslog settings of a node cannot be read", extra=extra)
            continue
        answered += 1
        _store(persistent_id, outcome.servers, read_at)
    return answered


def _store(
    persistent_id: str, servers: Sequence[syslogs.SyslogServer], read_at: dt.datetime
) -> None:
    """Store the settings. Locks the backend and then the source, in the same order as the removal
    of a backend.
    """
    with transaction.atomic(durable=True):
        rows = Backend.objects.select_for_update().filter(pk=persistent_id)
        backend = rows.first()
        if backend is None:
            return
        source = _locked_source()
        if _counts(backend, servers, source):
            _replace(servers)
            source.backend = backend if servers else None
            source.read_at = read_at
            source.save(update_fields=["backend", "read_at"])
        rows.filter(syslogs_wanted_at__lte=read_at).update(syslogs_wanted_at=None)


def _counts(
    backend: Backend, servers: Sequence[syslogs.SyslogServer], source: SyslogSource
) -> bool:
    """Whether these settings replace the known ones. They do not if no reading of the node is due
    any more, because then a later reading has been stored already.
    """
    if source.backend_id is None:
        return bool(servers)
    return backend.syslogs_wanted_at is not None and source.backend_id == backend.pk


def _replace(servers: Sequence[syslogs.SyslogServer]) -> None:
    """Replace the known servers by these. A server with the same url keeps its row and its waiting
    records.
    """
    known = [server.url for server in SyslogServer.objects.select_for_update().order_by("pk")]
    rows = {
        server.url: SyslogServer(
            url=server.url,
            node_server_id=server.id,
            name=server.name,
            state=server.state,
            use_tls=server.use_tls,
            cert_file_name=server.cert_file_name,
            certificate=server.certificate,
        )
        for server in servers
    }
    columns = ["node_server_id", "name", "state", "use_tls", "cert_file_name", "certificate"]
    SyslogServer.objects.bulk_create(
        rows.values(), update_conflicts=True, unique_fields=["url"], update_fields=columns
    )
    SyslogServer.objects.exclude(url__in=rows).delete()
    if sorted(known) != sorted(rows):
        urls = sorted(rows)
        record(Kind.SYSLOG_SERVERS_CHANGED, count=len(urls), servers=urls, former=sorted(known))


def _forget() -> None:
    """Delete the settings, because no node of the pool has any."""
    with transaction.atomic(durable=True):
        if _locked_source().backend_id is None:
            _replace(())


def _locked_source() -> SyslogSource:
    SyslogSource.objects.get_or_create()
    return SyslogSource.objects.select_for_update().get()
