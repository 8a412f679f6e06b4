"""Records when nodes and hosts become Unavailable, and Available again.

Their state changes with time, without a change of a row. So a job compares the present state with
the state in the last event.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, OperationalError, transaction
from django.db.models import Q, QuerySet

from events.kinds import Kind
from events.recording import record
from inventory.health import node_silence_reason
from inventory.models import Backend, Host
from provisioner.common import clock

log = logging.getLogger(__name__)

AT_MOST = 500
"""The number of nodes, and of hosts, that one run records."""


def availability_record() -> None:
    """Record each node and host whose state differs from the one that was last recorded, in random
    order, so that those which cannot be recorded do not keep the others.

    One conditional UPDATE decides, so of several runs at once one records a change.

    :raises OperationalError: the database cannot be used, or a row stays locked. The next run
        records the others.
    """
    for backend in Backend.objects.filter(_changed()).order_by("?")[:AT_MOST]:
        kind = Kind.BACKEND_AVAILABLE if backend.is_available else Kind.BACKEND_UNAVAILABLE
        with _alone("backend", backend.pk):
            if _take(Backend.objects.filter(pk=backend.pk), backend.recorded_available):
                now = clock.now()
                reason = "" if backend.is_available else node_silence_reason(backend, now)
                record(kind, backend=backend.pk, name=backend.name, reason=reason)
    for host in Host.objects.filter(_changed()).order_by("?")[:AT_MOST]:
        kind = Kind.HOST_AVAILABLE if host.is_available else Kind.HOST_UNAVAILABLE
        with _alone("host", host.pk):
            if _take(Host.objects.filter(pk=host.pk), host.recorded_available):
                record(kind, tenant=host.tenant_id, host=host.pk, name=host.name)


@contextmanager
def _alone(kind: str, key: str) -> Iterator[None]:
    """A transaction. If what it writes cannot be stored, it is undone and logged."""
    try:
        with transaction.atomic(durable=True):
            yield
    except OperationalError:
        raise
    except DatabaseError:
        log.exception("a change of availability cannot be stored", extra={kind: key})


def _changed() -> Q:
    now = clock.now()
    gone = Q(recorded_available=True, available_until__lt=now)
    return gone | Q(recorded_available=False, available_until__gte=now)


def _take(rows: QuerySet[Backend] | QuerySet[Host], recorded: bool) -> bool:
    return bool(rows.filter(recorded_available=recorded).update(recorded_available=not recorded))
