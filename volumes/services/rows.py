"""Process many rows so that one bad row does not stop the others."""

import logging
from collections.abc import Callable

from provisioner.common.database import is_conflict, unavailable
from volumes.services.deadlines import M
from volumes.services.node_calls import call_deadline

log = logging.getLogger(__name__)


def together(rows: list[M], work: Callable[[list[M], float], object]) -> None:
    """Process all rows at once, within the time of one request's node calls.

    If that fails, process each row alone, within the same time again.
    """
    try:
        work(rows, call_deadline())
    except Exception as error:
        _raise_outage(error)
        log.exception("collector: a batch of rows failed, trying each row separately")
        until = call_deadline()
        each_alone(rows, lambda row: work([row], until))


def each_alone(rows: list[M], work: Callable[[M], object]) -> None:
    """Process each row. A failure is logged, and the next row follows."""
    for row in rows:
        try:
            work(row)
        except Exception as error:
            _raise_outage(error)
            about = {"kind": type(row).__name__, "row": row.pk}
            log.exception("collector: a row failed", extra=about)


def _raise_outage(error: Exception) -> None:
    """Raise the error again if the database is unavailable, because no row causes that."""
    if unavailable(error) and not is_conflict(error):
        raise error
