"""The time that all processes agree on: the time of the database.

Whenever a process takes a database connection, it compares the clocks, without an additional round
trip. In between, it uses the monotonic clock of the machine. So a process with a wrong clock
neither sees nodes as Unavailable nor takes over leases of other processes. With SQLite everything
runs on one machine, and the clock of this machine counts.
"""

import datetime as dt
import logging
import threading
import time

from django.db.models import Q
from prometheus_client import Gauge

SKEW_SECONDS = 2.0
"""A difference of this much or more is logged."""

TOLERANCE = dt.timedelta(seconds=20)
"""A stored time that lies further in the future than its writer could set, by this much or more,
was stored before the database's clock stepped back. The times of two processes differ by less.
"""

SKEW = Gauge(
    "provisioner_clock_skew_seconds",
    "Absolute difference between the clocks of a process and of the database, in seconds.",
    multiprocess_mode="livemax",
)
log = logging.getLogger(__name__)


class _Clock:
    """``offset``: the database's time minus the monotonic clock, in seconds; None: not known."""

    def __init__(self) -> None:
        self.offset: float | None = None
        self.is_off = False
        self.lock = threading.Lock()


_clock = _Clock()


def now() -> dt.datetime:
    """Return the time of the database, in UTC. Before the first connection, it is the time of the
    machine.
    """
    offset = _clock.offset
    if offset is None:
        return dt.datetime.now(dt.UTC)
    return dt.datetime.fromtimestamp(time.monotonic() + offset, dt.UTC)


def is_impossible(field: str) -> Q:
    """A condition for rows whose ``field``, the time of a past event, lies in the future, because
    the database's clock has stepped back since.
    """
    return Q(**{f"{field}__gt": now() + TOLERANCE})


def epoch_seconds() -> float:
    """:func:`now` in seconds since the epoch."""
    offset = _clock.offset
    return time.time() if offset is None else time.monotonic() + offset


def clock_compared(database_seconds: float, began: float, ended: float) -> None:
    """Adjust the offset after a comparison of the clocks.

    At some moment between ``began`` and ``ended`` of the monotonic clock, the time of the database
    was ``database_seconds`` since the epoch. The known offset stays if it is possible within these
    bounds, so that the time makes no small jumps.
    """
    own = time.time() - time.monotonic()
    with _clock.lock:
        known = own if _clock.offset is None else _clock.offset
        _clock.offset = min(max(known, database_seconds - ended), database_seconds - began)
        skew = abs(own - _clock.offset)
        was_off, _clock.is_off = _clock.is_off, skew >= SKEW_SECONDS
    SKEW.set(skew)
    if _clock.is_off and not was_off:
        text = (
            "the clock of this machine differs from the database's clock; the database's time "
            "is used"
        )
        log.warning(text, extra={"seconds": round(skew, 3)})
