"""Which hosts have tasks, as this process read it a moment ago: most hosts have none, and each asks
every second.
"""

import logging
import threading
import time
from collections.abc import Callable

from django.db import Error, connection

from tasks.models import Task

log = logging.getLogger(__name__)

READ_SECONDS = 0.5
"""How often the hosts are read."""
STALE_SECONDS = 1.0
"""What was read longer ago than this is not used, so a host is known to be idle no longer than this
after its task was created.
"""

_read: tuple[float, frozenset[str]] = (float("-inf"), frozenset())


def is_known_idle(host_id: str) -> bool:
    """Whether a query that began at most STALE_SECONDS ago saw no task of this host, not even an
    ended one. Reads nothing.
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
    """Read it every READ_SECONDS, in a thread of its own. Returns what ends the thread."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(READ_SECONDS):
            try:
                read()
            except Error as error:
                log.warning(
                    "tasks cannot be read", extra={"reason": f"{type(error).__name__}: {error}"}
                )
            except Exception:  # without this thread, all polls would go the full way unnoticed
                log.exception("the hosts with tasks cannot be read")
            finally:
                connection.close()  # the pool checks a connection when it gives it out

    threading.Thread(target=run, name="busy-hosts", daemon=True).start()
    return ended.set
