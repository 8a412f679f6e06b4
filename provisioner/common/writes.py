"""Whether this system may change anything: a database that may be older than what it controls must
not decide. Whoever can tell registers the question; everybody asks here.
"""

import threading
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
    """The last one of this process, and when it was asked for."""

    def __init__(self) -> None:
        self.question: Question = lambda: ""
        self.lock = threading.Lock()
        self.until = 0.0
        self.reason = ""


_answer = _Answer()


def register_question(question: Question) -> None:
    """Called once at the start. ``question`` answers why nothing may be written; empty: it may."""
    _answer.question = question


def writes_forget() -> None:
    """Ask anew with the next use."""
    _answer.until = 0.0


def writes_barred() -> str:
    """Why nothing may be written now, as of STALE_SECONDS ago at most; empty: it may."""
    with _answer.lock:
        if time.monotonic() >= _answer.until:
            asked_at = time.monotonic()
            _answer.reason = _answer.question()
            _answer.until = asked_at + STALE_SECONDS
        return _answer.reason


def writes_required() -> None:
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
