"""How services ask for a job, without knowing what carries it."""

from collections.abc import Callable, Mapping

from django.db import transaction

Send = Callable[[str, tuple[object, ...], float], None]
"""Job, arguments, and in how many seconds it is to be done."""

_senders: list[Send] = []
_intervals: dict[str, float] = {}


def register_sender(send: Send) -> None:
    """Called once at the start, by whoever owns the broker; ``send`` returns in bounded time."""
    _senders[:] = [send]


def register_periodic(intervals: Mapping[str, float]) -> None:
    """Called once at the start: the periodic jobs, and every how many seconds each is run."""
    _intervals.clear()
    _intervals.update(intervals)


def periodic_jobs() -> Mapping[str, float]:
    """Intervals in seconds, by job."""
    return _intervals


def enqueue_on_commit(job: str, *args: str | int, delay_seconds: float = 0.0) -> None:
    """Send ``job`` (``<app>.jobs.<function>``) once the transaction commits; at once without one.
    It is done ``delay_seconds`` later.

    A message that cannot be sent is logged and lost: what it asks for must also be found by a
    periodic job, from rows.
    """
    transaction.on_commit(lambda: _senders[0](job, args, delay_seconds), robust=True)
