"""Work on many rows, of which one may be bad."""

import logging
from collections.abc import Callable

from provisioner.common.database import is_conflict, unavailable
from volumes.services.deadlines import M
from volumes.services.node_calls import call_deadline

log = logging.getLogger(__name__)


def together(rows: list[M], work: Callable[[list[M], float], object]) -> None:
    """Work on all rows at once, within the time of the node calls of one request. Where that fails,
    work on each of them alone, in the same time again, so that a bad row hinders no other.
    """
    try:
        work(rows, call_deadline())
    except Exception as error:
        _raise_outage(error)
        log.exception("collector: a row is bad, now each alone")
        until = call_deadline()
        each_alone(rows, lambda row: work([row], until))


def each_alone(rows: list[M], work: Callable[[M], object]) -> None:
    """A failure with one row is logged, and the others are worked on."""
    for row in rows:
        try:
            work(row)
        except Exception as error:
            _raise_outage(error)
            about = {"kind": type(row).__name__, "row": row.pk}
            log.exception("collector: cannot work on a row", extra=about)


def _raise_outage(error: Exception) -> None:
    """Raise the error again if the database is away: that is no fault of a row."""
    if unavailable(error) and not is_conflict(error):
        raise error
