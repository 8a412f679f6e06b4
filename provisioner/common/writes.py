"""Whether writes are allowed now. They are barred while the database may be older than its nodes.

The app ``inventory`` registers a function that decides this. All other code asks this module.
"""

import time
from collections.abc import Callable

from django.db import DatabaseError

from provisioner.common.results import ProvisionerError, ResultCode

STALE_SECONDS = 1.0
"""Time for which a process uses an answer."""
SQLSTATE = "PV001"
"""SQLSTATE of the database's own refusal: it hands out no generation while writes are barred."""

Check = Callable[[], str]


class WritesBarred(ProvisionerError):
    """Writes are barred until an operator acts. Reads still work."""

    code = ResultCode.ServiceUnavailable


class _Answer:
    """The last answer of this process: the reason, and the end of its validity. Threads may ask in
    parallel, so that no thread waits for another while the database is down.
    """

    def __init__(self) -> None:
        self.check: Check = lambda: ""
        self.last = ("", 0.0)


_answer = _Answer()


def register_check(check: Check) -> None:
    """Set the function that returns the reason why writes are barred, or "". It is called once at
    the start of a process.
    """
    _answer.check = check


def writes_clear_cache() -> None:
    """Clear the cached answer."""
    _answer.last = ("", 0.0)


def writes_barred() -> str:
    """Return the reason why writes are barred. It is at most STALE_SECONDS old. Empty: writes are
    allowed.
    """
    reason, until = _answer.last
    asked_at = time.monotonic()
    if asked_at >= until:
        reason = _answer.check()
        _answer.last = (reason, asked_at + STALE_SECONDS)
    return reason


def writes_barred_now() -> str:
    """Return the reason why writes are barred, as the database has it now. Empty: writes are
    allowed.
    """
    writes_clear_cache()
    return writes_barred()


def writes_refresh() -> None:
    """Ask again after half of STALE_SECONDS, so that no request has to."""
    last, asked_at = _answer.last, time.monotonic()
    if asked_at >= last[1] - STALE_SECONDS / 2:
        reason = _answer.check()
        if _answer.last is last:  # not cleared meanwhile
            _answer.last = (reason, asked_at + STALE_SECONDS)


def writes_known_allowed() -> bool:
    """Whether writes were allowed at most STALE_SECONDS ago. Reads nothing."""
    reason, until = _answer.last
    return not reason and time.monotonic() < until


def require_writes() -> None:
    """:raises WritesBarred: writes are barred now."""
    if reason := writes_barred():
        raise WritesBarred(reason)


def require_writes_now() -> None:
    """Like ``require_writes``, but asks the database. For changes that nothing takes back.

    :raises WritesBarred: writes are barred now.
    """
    writes_clear_cache()
    require_writes()


def refusal_of(error: BaseException | None) -> WritesBarred | None:
    """Return the refusal that caused an error of the database. None: the error has another
    cause.
    """
    cause = error.__cause__ if isinstance(error, DatabaseError) else None
    if getattr(cause, "sqlstate", None) != SQLSTATE:
        return None
    writes_clear_cache()
    return WritesBarred(_answer.check() or "this database may be older than its storage nodes")
