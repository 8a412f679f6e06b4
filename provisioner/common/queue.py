"""Lets services request a job without depending on the message broker."""

from collections.abc import Callable, Mapping

from django.db import transaction

Send = Callable[[str, tuple[object, ...], float], None]
"""Sends a job with its arguments, and a delay in seconds."""

_senders: list[Send] = []
_intervals: dict[str, float] = {}


def register_sender(send: Send) -> None:
    """Set the function that sends messages in limited time. It is called once at the start of a
    process.
    """
    _senders[:] = [send]


def register_periodic(intervals: Mapping[str, float]) -> None:
    """Set the periodic jobs, and their intervals in seconds. It is called once at the start of a
    process.
    """
    _intervals.clear()
    _intervals.update(intervals)


def periodic_jobs() -> Mapping[str, float]:
    """The intervals of the periodic jobs in seconds, by job."""
    return _intervals


def enqueue_on_commit(job: str, *args: str | int, delay_seconds: float = 0.0) -> None:
    """Send ``job`` (``<app>.jobs.<function>``) when the transaction commits, or at once if there is
    none. It runs ``delay_seconds`` later.

    A message that cannot be sent is logged and lost. So a periodic job must also find the work from
    rows.
    """
    transaction.on_commit(lambda: _senders[0](job, args, delay_seconds), robust=True)
