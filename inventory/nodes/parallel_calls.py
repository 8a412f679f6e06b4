"""Calls to many nodes in parallel, with one deadline for all calls."""

import os
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed, wait
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeVar

from inventory.nodes.errors import NodeRefused, NodeUnreachable
from inventory.nodes.gate import CALLS_PER_NODE, SILENT_SECONDS
from inventory.nodes.wait_hooks import begin_wait

PARALLEL_CALLS = 64
PARALLEL_CALLS_PER_NODE = CALLS_PER_NODE * 2 // 3
"""Less than the node's limit, so a call from another thread finds room."""

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class _Call(Future[Any]):
    """A call that can be queued. Calls with the same ``node`` go to the same node."""

    def __init__(self, node: Hashable, function: Callable[[], object]) -> None:
        super().__init__()
        self.node = node
        self.began_at = 0.0
        self._function = function

    def run(self) -> None:
        if not self.set_running_or_notify_cancel():
            return
        self.began_at = time.monotonic()
        try:
            self.set_result(self._function())
        except BaseException as error:  # noqa: BLE001 - raised where the result is read
            self.set_exception(error)


class _Lanes:
    """A pool of PARALLEL_CALLS threads. One node gets at most PARALLEL_CALLS_PER_NODE of them.
    Further calls to that node wait without a thread.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(PARALLEL_CALLS, thread_name_prefix="node-call")
        self._lock = threading.Lock()
        self._running: Counter[Hashable] = Counter()
        self._waiting: defaultdict[Hashable, deque[_Call]] = defaultdict(deque)

    def submit(self, call: _Call) -> None:
        with self._lock:
            if self._running[call.node] >= PARALLEL_CALLS_PER_NODE:
                self._waiting[call.node].append(call)
                return
            self._running[call.node] += 1
        self._threads.submit(self._work, call)

    def _work(self, first: _Call) -> None:
        call: _Call | None = first
        while call is not None:
            call.run()
            call = self._next(first.node)

    def _next(self, node: Hashable) -> _Call | None:
        with self._lock:
            if waiting := self._waiting.get(node):
                return waiting.popleft()
            self._waiting.pop(node, None)
            self._running[node] -= 1
            if not self._running[node]:
                del self._running[node]
            return None


@lru_cache(maxsize=1)
def _lanes() -> _Lanes:
    return _Lanes()


os.register_at_fork(after_in_child=_lanes.cache_clear)


def call_all(
    calls: Mapping[K, Callable[[], T]],
    *,
    timeout_seconds: float,
    nodes: Mapping[K, Hashable] | None = None,
) -> dict[K, T | NodeRefused | NodeUnreachable]:
    """Run all calls, and return the value or the error of each, in the given order.

    ``nodes``: the node of each call. Without it, each call counts as a call to a different node. A
    node that hangs leaves threads for calls to other nodes.

    A call that has not ended after ``timeout_seconds`` counts as ``NodeUnreachable``. If it has
    started, it continues in its thread, so give it its own ``timeout``. If it has not started, it
    is never made. All callers in the process share PARALLEL_CALLS threads, so a call must not use
    ``call_all`` itself.

    :raises Exception: a call raised another error than the two node errors, which is a bug.
    """
    begin_wait()
    begun = _begin(calls, nodes)
    wait(begun.values(), timeout=timeout_seconds)
    for call in begun.values():
        call.cancel()
    outcomes: dict[K, T | NodeRefused | NodeUnreachable] = {}
    for key, call in begun.items():
        outcomes[key] = _outcome(call, timeout_seconds)
    return outcomes


def call_each(
    calls: Mapping[K, Callable[[], T]], *, call_seconds: float
) -> Iterator[tuple[K, T | NodeRefused | NodeUnreachable]]:
    """Like :func:`call_all`, but yields each outcome as soon as it is known. ``call_seconds`` is
    the maximum time of one call.
    """
    begin_wait()
    keys: dict[Future[Any], K] = {call: key for key, call in _begin(calls, None).items()}
    rounds = 2 + len(keys) // PARALLEL_CALLS
    with suppress(TimeoutError):
        for future in as_completed(list(keys), timeout=rounds * call_seconds):
            outcome = _outcome(future, call_seconds)
            yield keys.pop(future), outcome
    for future, key in keys.items():
        future.cancel()
        outcome = _outcome(future, call_seconds)
        yield key, outcome


def _begin(
    calls: Mapping[K, Callable[[], object]], nodes: Mapping[K, Hashable] | None
) -> dict[K, _Call]:
    """Queue the calls. Without ``nodes``, each call counts as a call to a different node."""
    begun = {
        key: _Call(nodes[key] if nodes is not None else object(), function)
        for key, function in calls.items()
    }
    for call in begun.values():
        _lanes().submit(call)
    return begun


def _outcome(future: Future[Any], timeout_seconds: float) -> Any:
    if not future.done():
        began_at = future.began_at if isinstance(future, _Call) else 0.0
        had_time = time.monotonic() - began_at >= SILENT_SECONDS
        return NodeUnreachable(f"no answer within {timeout_seconds:g} s", is_fault=had_time)
    try:
        return future.result()
    except (NodeRefused, NodeUnreachable) as error:
        return error
    except CancelledError:
        return NodeUnreachable(f"not started within {timeout_seconds:g} s", is_fault=False)
