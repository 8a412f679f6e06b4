"""The hosts that have tasks, as this process read them a moment ago. Most hosts have no task, and
each host asks for its tasks every second.
"""

import logging
import threading
import time
from collections.abc import Callable

from django.db import Error, connection

from tasks.models import Task

log = logging.getLogger(__name__)

READ_SECONDS = 0.5
"""Interval in which the hosts are read."""
STALE_SECONDS = 1.0
"""Older data is not used. So a host counts as idle for at most this time after its task was
created.
"""

_read: tuple[float, frozenset[str]] = (float("-inf"), frozenset())


def is_known_idle(host_id: str) -> bool:
    """Whether a query that began at most STALE_SECONDS ago found no task of this host, not even an
    ended one.

    Reads nothing.
    """
    began_at, busy = _read
    return host_id not in busy and time.monotonic() - began_at < STALE_SECONDS


def read() -> None:
    """Read which hosts have tasks.

    :raises django.db.Error: the database cannot be read.
    """
    global _read  # noqa: PLW0603 - one value for all threads; assignment is atomic
    began_at = time.monotonic()
    hosts = Task.objects.exclude(host_id="").order_by().values_list("host_id", flat=True)
    _read = began_at, frozenset(hosts.distinct())


def follow() -> Callable[[], None]:
    """Read the hosts every READ_SECONDS in a separate thread. Returns a function that ends the
    thread.
    """
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(READ_SECONDS):
            try:
                read()
            except Error as error:
                log.warning(
                    "tasks cannot be read", extra={"reason": f"{type(error).__name__}: {error}"}
                )
            except Exception:  # if this thread ended, all polls would read the database unnoticed
                log.exception("the hosts with tasks cannot be read")
            finally:
                connection.close()  # the pool checks a connection before it is used again

    threading.Thread(target=run, name="busy-hosts", daemon=True).start()
    return ended.set
