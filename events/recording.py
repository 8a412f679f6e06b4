"""Records events. Code that causes an event calls :func:`record`."""

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.db import Error, transaction

from events.kinds import OBJECTS, Kind
from events.models import Event
from provisioner.common import logs
from provisioner.common.inserts import insert_values

LONGEST_TEXT = 1000
TALLY_SECONDS = 60.0
MOST_TALLIES = 1000
TOGETHER = 500

_waiting: ContextVar[list[Event] | None] = ContextVar("waiting", default=None)


def record(kind: Kind, *, tenant: str = "", reason: str = "", **facts: Any) -> None:
    """Record an event in the caller's transaction, together with the change that it reports.

    ``facts`` fill the sentence of the kind, and become the details of the event. A fact whose name
    is in OBJECTS is the id, or a list of ids, of objects of the event. None: the fact is unknown
    and omitted. ``tenant``: the tenant whose callers see the event; "": the event concerns the
    pool.
    """
    known = {name: value for name, value in facts.items() if value is not None}
    subjects = [f"{name}:{one}" for name in OBJECTS for one in _listed(known.get(name))]
    subjects += [f"tenant:{tenant}"] if tenant and "tenant" not in known else []
    actor_type, actor = _actor()
    event: dict[str, Any] = {
        "kind": kind.wire,
        "severity": kind.value.severity,
        "text": _sentence(kind, {"tenant": tenant} | known, reason)[:LONGEST_TEXT],
        "reason": reason[:LONGEST_TEXT],
        "actor_type": actor_type,
        "actor": actor,
        "request_id": logs.request_id.get(),
        "tenant_id": tenant,
        "subjects": subjects,
        "details": {k: v for k, v in known.items() if k not in OBJECTS},
    }
    waiting = _waiting.get()
    if waiting is None:
        insert_values(Event, **event)
    else:
        waiting.append(Event(**event))


@contextmanager
def recorded_together() -> Iterator[None]:
    """Insert all events of the block at its end, in one statement for each TOGETHER events.

    Use this inside the transaction of the changes that the events report.
    """
    waiting: list[Event] = []
    token = _waiting.set(waiting)
    try:
        yield
    finally:
        _waiting.reset(token)
    Event.objects.bulk_create(waiting, batch_size=TOGETHER)


def _sentence(kind: Kind, facts: dict[str, Any], reason: str) -> str:
    shown = {name: ", ".join(map(str, _listed(value))) for name, value in facts.items()}
    text = kind.value.text.format_map(defaultdict(lambda: "(none)", shown))
    return f"{text}: {reason}" if reason else f"{text}."


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple | set | frozenset) else [value]


def _actor() -> tuple[str, str]:
    """The type and name of the actor in this thread."""
    if caller := logs.caller.get():
        return logs.caller_type.get(), caller
    if job := logs.job.get():
        return Event.Actor.WORKER, job
    if logs.request_id.get():
        return Event.Actor.CALLER, ""
    return Event.Actor.COMMAND, sys.argv[1] if len(sys.argv) > 1 else ""


@dataclass
class _Count:
    """Occurrences of one key: the number that no event has counted yet, and the number of events
    since ``began_at``.
    """

    began_at: float = float("-inf")
    events: int = 0
    uncounted: int = 0


class Tally:
    """Records events that callers can cause without limit.

    For each key, a process records at most ``most`` events in TALLY_SECONDS. The ``count`` of an
    event includes the occurrences since the previous event.
    """

    def __init__(self, kind: Kind, *, most: int = 1) -> None:
        self._kind = kind
        self._most = most
        self._lock = threading.Lock()
        self._counts: dict[Hashable, _Count] = {}

    def count(self, key: Hashable, **facts: Any) -> None:
        """Count an occurrence of this key. Record an event unless there were too many recently.

        An unavailable database does not fail the caller. A later event then counts this occurrence.
        """
        with self._lock:
            one = self._counts.pop(key, None) or _Count()
            if len(self._counts) >= MOST_TALLIES:
                self._counts.pop(next(iter(self._counts)))
            self._counts[key] = one
            if (now := time.monotonic()) >= one.began_at + TALLY_SECONDS:
                one.began_at, one.events = now, 0
            one.uncounted += 1
            if one.events >= self._most:
                return
            number, one.uncounted, one.events = one.uncounted, 0, one.events + 1
        try:
            with transaction.atomic():
                record(self._kind, **facts, count=number)
        except Error:
            with self._lock:
                one.uncounted += number
