"""Whether this process is being stopped: what can go on elsewhere is handed on then."""

import threading

_stopping = threading.Event()


def stop() -> None:
    """From now on it is."""
    _stopping.set()


def go_on() -> None:
    """It is not any more: a worker was started in the process of another that ended."""
    _stopping.clear()


def is_shutting_down() -> bool:
    return _stopping.is_set()
