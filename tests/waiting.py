"""Waits for conditions that no event reports, by checking them again and again."""

import time
from collections.abc import Callable


def eventually(
    true: Callable[[], bool],
    *,
    seconds: float,
    what: str | Callable[[], object],
    pause: float = 0.05,
) -> None:
    """Wait until ``true()`` holds. It is checked every ``pause`` seconds.

    ``what``: a description of the condition, or a function that describes the state after a
    timeout.

    :raises AssertionError: it does not hold within ``seconds``.
    """
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() >= end:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(pause)
