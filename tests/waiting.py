"""How tests wait for what no event announces: they ask again until it is so."""

import time
from collections.abc import Callable


def eventually(
    true: Callable[[], bool],
    *,
    seconds: float,
    what: str | Callable[[], object],
    pause: float = 0.05,
) -> None:
    """Wait until ``true()``, and ask every ``pause`` seconds.

    ``what`` is awaited: a text, or a function that tells the state when the time is over.

    :raises AssertionError: it is not so within ``seconds``.
    """
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() >= end:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(pause)
