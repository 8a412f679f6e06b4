"""Node calls in parallel, with one deadline for all."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from functools import lru_cache

from inventory.nodes.errors import NodeRefused, NodeUnreachable

PARALLEL_CALLS = 64


@lru_cache(maxsize=1)
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(PARALLEL_CALLS, thread_name_prefix="node-call")


os.register_at_fork(after_in_child=_executor.cache_clear)


def call_all[K, T](
    calls: Mapping[K, Callable[[], T]], *, timeout_seconds: float
) -> dict[K, T | NodeRefused | NodeUnreachable]:
    """Run all calls; the value or the error of each, in the order given, within ``timeout_seconds``.

    A call that has not ended by then counts as ``NodeUnreachable``. If it has begun it goes on in its
    thread (give it a ``timeout`` of its own); if not, it is never made. All callers of the process share
    PARALLEL_CALLS threads: a call must not use ``call_all`` itself.

    :raises Exception: what a call raised beside the two node errors; a bug.
    """
    futures = {key: _executor().submit(call) for key, call in calls.items()}
    wait(futures.values(), timeout=timeout_seconds)
    for future in futures.values():
        future.cancel()
    return {key: _outcome(future, timeout_seconds) for key, future in futures.items()}


def _outcome[T](
    future: Future[T], timeout_seconds: float
) -> T | NodeRefused | NodeUnreachable:
    try:
        return future.result(timeout=0)
    except (NodeRefused, NodeUnreachable) as error:
        return error
    except CancelledError:
        return NodeUnreachable(f"not begun within {timeout_seconds:g} s")
    except TimeoutError:
        if future.done():
            raise
        return NodeUnreachable(f"no answer within {timeout_seconds:g} s")
