"""Whether this process is being stopped, so that work can be handed over to others."""

import threading

_shutting_down = threading.Event()


def stop() -> None:
    """Mark this process as being stopped."""
    _shutting_down.set()


def go_on() -> None:
    """Unmark it: a worker was started in a process whose former worker ended."""
    _shutting_down.clear()


def is_shutting_down() -> bool:
    return _shutting_down.is_set()
