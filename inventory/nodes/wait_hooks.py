"""What a process does before a thread of it waits for a storage node."""

from collections.abc import Callable

_hooks: list[Callable[[], None]] = []


def before_wait(hook: Callable[[], None]) -> None:
    """Have ``hook`` called in each thread that is about to wait for a node; it returns at once."""
    _hooks.append(hook)


def begin_wait() -> None:
    """The calling thread waits for a node now."""
    for hook in _hooks:
        hook()
