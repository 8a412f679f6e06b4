"""Keeps data of this process fresh, so that no request has to read it. Otherwise all requests that
arrive while it is too old would read it at once, each second or two. Another thread stores what
requests left in memory.
"""

import logging
import threading
from collections.abc import Callable

from django.db import Error, connection

from provisioner.common.postgresql.answers import answered_within

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 0.5
ANSWER_SECONDS = 5.0
"""Longest wait for an answer of the database. While a thread waits, its data grows old."""
END_SECONDS = 5.0


def follow(*steps: Callable[[], None]) -> Callable[[], None]:
    """Call these functions every INTERVAL_SECONDS in a separate thread. An error is logged. Returns
    a function that calls them once more and ends the thread, within END_SECONDS.
    """
    ended = threading.Event()

    def run() -> None:
        is_last = False
        while not is_last:
            is_last = ended.wait(INTERVAL_SECONDS)
            with answered_within(ANSWER_SECONDS):
                for step in steps:
                    _attempt(step)
            _attempt(connection.close)  # the pool checks a connection before it is used again

    thread = threading.Thread(target=run, name="following", daemon=True)
    thread.start()

    def end() -> None:
        ended.set()
        thread.join(END_SECONDS)

    return end


def _attempt(step: Callable[[], None]) -> None:
    about = {"step": f"{step.__module__}.{step.__qualname__}"}
    try:
        step()
    except Error as error:
        reason = f"{type(error).__name__}: {error}"
        log.warning("data of this process is not fresh", extra=about | {"reason": reason})
    except Exception:  # if the thread ended, all requests would read the data unnoticed
        log.exception("data of this process is not fresh", extra=about)
