"""Reads events."""

import datetime as dt
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from django.db import connection
from django.db.models import Count, Q, QuerySet

from events.kinds import OBJECTS, Kind, Severity
from events.models import Event

SETTLE_SECONDS = 60.0
"""Longest time for which a running transaction hides newer events from readers, because its client
may be dead.
"""
SETTLED = """
    SELECT least(statement_timestamp(), min(greatest(
        session.xact_start, statement_timestamp() - make_interval(secs => %s))))
    FROM pg_locks AS held LEFT JOIN pg_stat_activity AS session USING (pid)
    WHERE held.locktype = 'relation' AND held.mode = 'RowExclusiveLock'
      AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND held.relation = %s::regclass
"""

OF_POOL = ("placement", "refused", "nodes")
"""Details that tell about nodes, which callers of a tenant may not read (``GET /backends``)."""


@dataclass(frozen=True)
class EventFilter:
    """A filter for events. None means any value.

    ``tenant_id``: only events of this tenant. ``about``: ``type:id`` of an object, or the id of an
    object of any type. ``severity``: the lowest severity. ``actor``: the name of the actor.
    """

    tenant_id: str | None = None
    about: str | None = None
    kinds: tuple[Kind, ...] = ()
    severity: Severity | None = None
    actor: str | None = None
    request_id: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None


def details_shown(event: Event, tenant_id: str | None) -> dict[str, Any]:
    """Return the details of an event that a caller may see. A caller who is bound to a tenant does
    not see details about nodes.
    """
    of_pool = OF_POOL if tenant_id is not None else ()
    return {name: value for name, value in event.details.items() if name not in of_pool}


def event_rows(wanted: EventFilter) -> QuerySet[Event]:
    """Return the matching events that are committed, without a certain order. One query."""
    equal = {
        "tenant_id": wanted.tenant_id,
        "severity__gte": wanted.severity,
        "actor": wanted.actor,
        "request_id": wanted.request_id,
        "at__gte": wanted.since,
        "at__lte": wanted.until,
        "kind__in": [kind.wire for kind in wanted.kinds] or None,
    }
    rows = Event.objects.filter(**{name: v for name, v in equal.items() if v is not None})
    return rows if wanted.about is None else rows.filter(_about(wanted.about))


def _about(named: str) -> Q:
    kind, _, rest = named.partition(":")
    if kind in OBJECTS and rest:
        return Q(subjects__holds=named)
    return reduce(or_, (Q(subjects__holds=f"{one}:{named}") for one in OBJECTS))


def events_page(
    wanted: EventFilter, *, marker: int | None, limit: int, newest_first: bool = False
) -> list[Event]:
    """Return the next ``limit`` events: those after the number ``marker`` by ascending number, or
    those before it by descending number.

    Numbers are not in the order of commits. A running transaction may later commit an event with a
    smaller number than events that are already visible. So only events are returned that are older
    than every running transaction that records events (for SETTLE_SECONDS at most). A reader that
    continues after the last number then misses no event. Call this outside of a transaction,
    because the second query must see more than the first one.
    """
    rows = event_rows(wanted)
    if (before := _settled_before()) is not None:
        rows = rows.filter(at__lt=before)
    if marker is not None:
        rows = rows.filter(**{"number__lt" if newest_first else "number__gt": marker})
    return list(rows.order_by("-number" if newest_first else "number")[:limit])


def _settled_before() -> dt.datetime | None:
    """Return the time before which all event numbers belong to transactions that have ended.

    A transaction that inserts events holds a lock on the table from before it takes a number until
    its end, and takes the number after its begin. None: the database runs one writer at a time
    (SQLite), so numbers are in the order of commits.
    """
    if connection.vendor != "postgresql":
        return None
    assert not connection.in_atomic_block, "the events must be read after the locks"
    with connection.cursor() as cursor:
        cursor.execute(SETTLED, [SETTLE_SECONDS, Event._meta.db_table])
        before: dt.datetime = cursor.fetchone()[0]
    return before


def newest_number() -> int:
    """Return the number of the newest event that :func:`events_page` returns. 0: there is none."""
    rows = Event.objects.all()
    if (before := _settled_before()) is not None:
        rows = rows.filter(at__lt=before)
    newest = rows.order_by("-number").values_list("number", flat=True).first()
    return newest or 0


def urgent_counts(since: dt.datetime) -> list[tuple[str, int, int]]:
    """Return the kinds of severity ``warning`` or higher that have events since that time, each as
    kind, severity and number of events. One query.
    """
    rows = Event.objects.filter(severity__gte=Severity.WARNING, at__gte=since)
    counted = rows.order_by("kind").values("kind", "severity").annotate(number_of=Count("pk"))
    return [(row["kind"], row["severity"], row["number_of"]) for row in counted]
