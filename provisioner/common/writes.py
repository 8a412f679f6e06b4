"""Whether this system may change anything: a database that may be older than what it controls must
not decide. Whoever can tell registers the question; everybody asks here.
"""

import time
from collections.abc import Callable

from django.db import DatabaseError

from provisioner.common.results import ProvisionerError, ResultCode

STALE_SECONDS = 1.0
"""How old an answer may be, in each process."""
SQLSTATE = "PV001"
"""Of the database's own refusal: it never hands out a generation while writes are barred."""

Question = Callable[[], str]


class WritesBarred(ProvisionerError):
    """Reads go on; writes wait for an operator."""

    code = ResultCode.ServiceUnavailable


class _Answer:
    """The last one of this process: the reason, and until when it counts. Threads ask beside each
    other: where the database is away, none waits for another.
    """

    def __init__(self) -> None:
        self.question: Question = lambda: ""
        self.last = ("", 0.0)


_answer = _Answer()


def register_question(question: Question) -> None:
    """Called once at the start. ``question`` answers why nothing may be written; empty: it may."""
    _answer.question = question


def writes_forget() -> None:
    """Ask anew with the next use."""
    _answer.last = ("", 0.0)


def writes_barred() -> str:
    """Why nothing may be written now, as of STALE_SECONDS ago at most; empty: it may."""
    reason, until = _answer.last
    asked_at = time.monotonic()
    if asked_at >= until:
        reason = _answer.question()
        _answer.last = (reason, asked_at + STALE_SECONDS)
    return reason


def require_writes() -> None:
    """:raises WritesBarred: nothing may be written now."""
    if reason := writes_barred():
        raise WritesBarred(reason)


def refusal_of(error: BaseException | None) -> WritesBarred | None:
    """The refusal behind an error of the database, if it is ours."""
    cause = error.__cause__ if isinstance(error, DatabaseError) else None
    if getattr(cause, "sqlstate", None) != SQLSTATE:
        return None
    writes_forget()
    return WritesBarred(_answer.question() or "this database may be older than its storage nodes")
