"""Lets services request a job without depending on the message broker."""

from collections.abc import Callable, Mapping

from django.db import transaction

from provisioner.common.database import release_connection

Send = Callable[[str, tuple[object, ...], float], None]
"""Sends a job with its arguments, and a delay in seconds."""

Count = Callable[[], int]
"""Counts the messages that wait for a worker of tasks."""

_senders: list[Send] = []
_counts: list[Count] = []
_intervals: dict[str, float] = {}


def register_sender(send: Send, count: Count) -> None:
    """Set the functions that send and count messages in limited time. It is called once at the
    start of a process.
    """
    _senders[:] = [send]
    _counts[:] = [count]


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

    A message that cannot be sent is logged and lost. After that, the next messages are lost without
    a try for some seconds. So a periodic job must also find the work from rows.
    """
    transaction.on_commit(lambda: _send(job, args, delay_seconds), robust=True)


def messages_waiting() -> int:
    """The number of messages that wait for a worker of tasks.

    :raises Exception: the broker cannot be reached.
    """
    return _counts[0]()


def _send(job: str, args: tuple[object, ...], delay_seconds: float) -> None:
    release_connection()
    _senders[0](job, args, delay_seconds)
