"""Whether this process is being stopped, so that it should hand over its work."""

import threading

_shutting_down = threading.Event()


def stop() -> None:
    """Mark this process as being stopped."""
    _shutting_down.set()


def clear() -> None:
    """Remove the mark. A new worker was started in a process whose previous worker has ended."""
    _shutting_down.clear()


def is_shutting_down() -> bool:
    return _shutting_down.is_set()
