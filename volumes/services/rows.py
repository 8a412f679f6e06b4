"""Process many rows so that a bad row does not stop the others."""

import logging
from collections.abc import Callable

from inventory.services.node.call_time import call_deadline
from provisioner.common.database import is_conflict, is_locked, unavailable
from volumes.services.deadlines import M

log = logging.getLogger(__name__)


def process_batch(rows: list[M], work: Callable[[list[M], float], object]) -> None:
    """Process all rows together, within the time of one request's node calls.

    If that fails, process each row by itself, each within that time.
    """
    try:
        work(rows, call_deadline())
    except Exception as error:
        _raise_outage(error)
        log.exception("collector: a batch of rows failed, trying each row separately")
        until = call_deadline()
        process_each(rows, lambda row: work([row], until))


def process_each(rows: list[M], work: Callable[[M], object]) -> None:
    """Process the rows one by one. A failure is logged, and the next row follows."""
    for row in rows:
        try:
            work(row)
        except Exception as error:
            _raise_outage(error)
            about = {"kind": type(row).__name__, "row": row.pk}
            log.exception("collector: a row failed", extra=about)


def _raise_outage(error: Exception) -> None:
    """Raise the error again if the database is unavailable, because then no row is the cause. A
    row that others hold locked is one.
    """
    if unavailable(error) and not (is_conflict(error) or is_locked(error)):
        raise error
