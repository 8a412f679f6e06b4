"""Whether this process is being stopped: what can go on elsewhere is handed on then."""

import threading

_shutting_down = threading.Event()


def stop() -> None:
    """From now on it is."""
    _shutting_down.set()


def go_on() -> None:
    """It is not any more: a worker was started in the process of another that ended."""
    _shutting_down.clear()


def is_shutting_down() -> bool:
    return _shutting_down.is_set()
