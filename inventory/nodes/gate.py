"""Limits the concurrent calls of this process to each node, so that a hanging node blocks only a
few threads.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from inventory.nodes.errors import NodeUnreachable

CALLS_PER_NODE = 12
"""Fewer than API_THREADS by default, so that requests that a hanging node delays leave turns for
other requests. While a node is slow, further requests wait for MOST_WAIT_SECONDS at most.
"""
CALLS_WHILE_SILENT = 1
"""Calls at once to a node that did not answer its last call. This one call tests whether the node
is back.
"""
WAIT_SECONDS = 0.5
"""Time of this one call during which other calls wait for it. Then they are refused."""
SLOW_SECONDS = 2.0
"""If a node answers nothing for so long, calls for which there is no room are refused. While it
answers, they wait, because a healthy node may be busy with many slow calls.
"""
MOST_WAIT_SECONDS = 5.0
"""Longest wait of a call for room."""
SILENT_SECONDS = 1.0
"""A missing answer counts as the node's fault only after this time."""


class _Node:
    def __init__(self, lock: threading.Lock) -> None:
        self.free = threading.Condition(lock)
        self.calls = 0
        self.waiting = 0
        self.silent = False
        self.quiet_since = 0.0
        """When it last answered, or when it got a call after it had none."""

    @property
    def refuses_at(self) -> float:
        """The time from which calls do not wait for room."""
        return self.quiet_since + (WAIT_SECONDS if self.silent else SLOW_SECONDS)

    @property
    def has_room(self) -> bool:
        return self.calls < (CALLS_WHILE_SILENT if self.silent else CALLS_PER_NODE)


class NodeGate:
    """Counts the running calls to each node."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nodes: dict[str, _Node] = {}

    @contextmanager
    def call(self, name: str, seconds: float) -> Iterator[None]:
        """A context for one call to the node ``name``, which may take at most ``seconds``.

        If the block raises ``NodeUnreachable`` after SILENT_SECONDS or later, the node counts as
        silent. If the block ends in any other way, the node has answered.

        :raises NodeUnreachable: too many calls are running; no request was sent.
        """
        node = self._enter(name, min(seconds, MOST_WAIT_SECONDS))
        began, silent = time.monotonic(), False
        try:
            yield
        except NodeUnreachable:
            silent = time.monotonic() - began >= SILENT_SECONDS
            raise
        finally:
            self._leave(name, node, silent=silent)

    def _enter(self, name: str, seconds: float) -> _Node:
        with self._lock:
            node = self._nodes.setdefault(name, _Node(self._lock))
            node.waiting += 1
            self._await_room(node, time.monotonic() + seconds)
            node.waiting -= 1
            if node.has_room:
                if not node.calls:
                    node.quiet_since = time.monotonic()
                node.calls += 1
                return node
            why = "did not answer its last call" if node.silent else "is slow"
            text = f"not called: the node {why}; calls that already wait for it: {node.calls}"
            raise NodeUnreachable(text, is_fault=False)

    @staticmethod
    def _await_room(node: _Node, until: float) -> None:
        while not node.has_room:
            left = min(until, node.refuses_at) - time.monotonic()
            if left <= 0:
                return
            node.free.wait(left)

    def _leave(self, name: str, node: _Node, *, silent: bool) -> None:
        with self._lock:
            node.calls -= 1
            node.silent = silent
            if not silent:
                node.quiet_since = time.monotonic()
            if node.calls or node.waiting or silent:
                node.free.notify_all()
            else:
                del self._nodes[name]
