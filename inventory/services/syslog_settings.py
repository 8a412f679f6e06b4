"""The pool's syslog settings, as a node has them (contract, sections 3 and 10).

The settings of one node count: of the first that has any, until an operator chooses another
(``manage.py syslog_source``). What other nodes say changes nothing: one node cannot have the logs
of all sent elsewhere. When that node leaves the pool they stay until another one was read.
"""

import datetime as dt
import logging
from collections.abc import Sequence
from functools import partial

from django.db import transaction

from inventory.models import Backend, SyslogServer, SyslogSource
from inventory.nodes import syslogs
from inventory.nodes.client import NodeRefused, NodeUnreachable, call_all
from inventory.services.node_clients import node_client
from provisioner.common import clock
from provisioner.common.queue import enqueue_on_commit

log = logging.getLogger(__name__)

READ_SECONDS = 5.0
READ_TOGETHER_SECONDS = 12.0
READ_AT_MOST = 16


def syslogs_ask_first(backend: Backend) -> None:
    """Within the transaction that adds a node: have it read if no settings are known."""
    if SyslogServer.objects.exists():
        return
    Backend.objects.filter(pk=backend.pk).update(syslogs_wanted_at=clock.now())
    enqueue_on_commit("inventory.jobs.read_syslogs", backend.pk)


def syslog_source_choose(*, persistent_id: str) -> bool:
    """The settings of this node count from now on, as soon as they are read; False: it is not in
    the pool.
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
    """Read the settings of a node that were asked for; if it does not answer, the poll does it."""
    _read(list(Backend.objects.filter(pk=persistent_id, syslogs_wanted_at__isnull=False)))


def syslogs_poll() -> None:
    """Read what was asked for and never read; find settings where their node left the pool.

    At most READ_AT_MOST nodes of either kind, chosen by chance: those that fail bar nobody's way.
    """
    nodes = Backend.objects.available().order_by("?").prefetch_related("addresses")
    _read(list(nodes.filter(syslogs_wanted_at__isnull=False)[:READ_AT_MOST]))
    if _orphaned():
        answered = _read(list(nodes[:READ_AT_MOST]))
        if answered and _orphaned():
            _forget()


def _orphaned() -> bool:
    """Settings are known whose node is not in the pool."""
    source = SyslogSource.objects.filter(backend__isnull=False)
    return SyslogServer.objects.exists() and not source.exists()


def _read(backends: list[Backend]) -> int:
    """How many answered."""
    read_at = clock.now()
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


def _store(
    persistent_id: str, servers: Sequence[syslogs.SyslogServer], read_at: dt.datetime
) -> None:
    """Locks the backend and then the source, as a removal of the backend does."""
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
    """Whether what was read takes the place of what is known.

    Nothing wanted any more: a later reading is stored already.
    """
    if source.backend_id is None:
        return bool(servers)
    return backend.syslogs_wanted_at is not None and source.backend_id == backend.pk


def _replace(servers: Sequence[syslogs.SyslogServer]) -> None:
    """A server whose url stays keeps its row, with the records that wait for it."""
    list(SyslogServer.objects.select_for_update().order_by("pk"))
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


def _forget() -> None:
    """No node of the pool has the settings that are known: they go."""
    with transaction.atomic(durable=True):
        if _locked_source().backend_id is None:
            _replace(())


def _locked_source() -> SyslogSource:
    SyslogSource.objects.get_or_create()
    return SyslogSource.objects.select_for_update().get()
