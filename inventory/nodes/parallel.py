"""Node calls in parallel, with one deadline for all."""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed, wait
from contextlib import suppress
from functools import lru_cache
from typing import TypeVar

from inventory.nodes.errors import NodeRefused, NodeUnreachable
from inventory.nodes.waits import begin_wait

PARALLEL_CALLS = 64

K = TypeVar("K")
T = TypeVar("T")


@lru_cache(maxsize=1)
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(PARALLEL_CALLS, thread_name_prefix="node-call")


os.register_at_fork(after_in_child=_executor.cache_clear)


def call_all(
    calls: Mapping[K, Callable[[], T]], *, timeout_seconds: float
) -> dict[K, T | NodeRefused | NodeUnreachable]:
    """Run all calls; the value or the error of each, in the order given.

    A call that has not ended after ``timeout_seconds`` counts as ``NodeUnreachable``. If it has
    begun it goes on in its thread (give it a ``timeout`` of its own); if not, it is never made. All
    callers of the process share PARALLEL_CALLS threads: a call must not use ``call_all`` itself.

    :raises Exception: what a call raised beside the two node errors; a bug.
    """
    begin_wait()
    futures = {key: _executor().submit(call) for key, call in calls.items()}
    wait(futures.values(), timeout=timeout_seconds)
    for future in futures.values():
        future.cancel()
    outcomes: dict[K, T | NodeRefused | NodeUnreachable] = {}
    for key, future in futures.items():
        outcome = _outcome(future, timeout_seconds)
        outcomes[key] = outcome
    return outcomes


def call_each(
    calls: Mapping[K, Callable[[], T]], *, call_seconds: float
) -> Iterator[tuple[K, T | NodeRefused | NodeUnreachable]]:
    """As :func:`call_all`, but each outcome as it comes; ``call_seconds`` is a call's longest."""
    begin_wait()
    keys = {_executor().submit(call): key for key, call in calls.items()}
    rounds = 2 + len(keys) // PARALLEL_CALLS
    with suppress(TimeoutError):
        for future in as_completed(list(keys), timeout=rounds * call_seconds):
            outcome = _outcome(future, call_seconds)
            yield keys.pop(future), outcome
    for future, key in keys.items():
        future.cancel()
        outcome = _outcome(future, call_seconds)
        yield key, outcome


def _outcome(future: Future[T], timeout_seconds: float) -> T | NodeRefused | NodeUnreachable:
    if not future.done():
        return NodeUnreachable(f"no answer within {timeout_seconds:g} s")
    try:
        return future.result()
    except (NodeRefused, NodeUnreachable) as error:
        return error
    except CancelledError:
        return NodeUnreachable(f"not begun within {timeout_seconds:g} s")
