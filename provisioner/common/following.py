"""Keeps data of this process fresh, so that no request has to read it. Otherwise all requests that
arrive while it is too old would read it at once, each second or two.
"""

import logging
import threading
from collections.abc import Callable

from django.db import Error, connection

log = logging.getLogger(__name__)

READ_SECONDS = 0.5


def follow(*reads: Callable[[], None]) -> Callable[[], None]:
    """Call these functions every READ_SECONDS in a separate thread. An error is logged. Returns a
    function that ends the thread.
    """
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(READ_SECONDS):
            for read in reads:
                _attempt(read)
            connection.close()  # the pool checks a connection before it is used again

    threading.Thread(target=run, name="following", daemon=True).start()
    return ended.set


def _attempt(read: Callable[[], None]) -> None:
    about = {"read": f"{read.__module__}.{read.__qualname__}"}
    try:
        read()
    except Error as error:
        reason = f"{type(error).__name__}: {error}"
        log.warning("data of this process cannot be read", extra=about | {"reason": reason})
    except Exception:  # if the thread ended, all requests would read the data unnoticed
        log.exception("data of this process cannot be read", extra=about)
