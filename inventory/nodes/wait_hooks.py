"""Hooks that run before a thread waits for a storage node."""

from collections.abc import Callable

_hooks: list[Callable[[], None]] = []


def before_wait(hook: Callable[[], None]) -> None:
    """Call ``hook`` in each thread that is about to wait for a node. The hook must
    return at once.
    """
    _hooks.append(hook)


def begin_wait() -> None:
    """Run the hooks; the calling thread is about to wait for a node."""
    for hook in _hooks:
        hook()
