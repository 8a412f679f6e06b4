"""The hosts that have tasks, as this process read them a moment ago. Most hosts have no task, and
each host asks for its tasks every second.
"""

import time

from provisioner.common.compiled import Compiled
from tasks.models import Task

STALE_SECONDS = 1.0
"""Older data is not used. So a host counts as idle for at most this time after its task was
created.
"""

BUSY = Compiled(
    lambda: Task.objects.exclude(host_id="").order_by().values_list("host_id").distinct()
)
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
    _read = began_at, frozenset(host for (host,) in BUSY.rows())
