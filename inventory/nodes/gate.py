"""Bounds how many calls of this process a node has at once, so that a node that hangs holds few
threads.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from inventory.nodes.errors import NodeUnreachable

CALLS_PER_NODE = 16
CALLS_WHILE_SILENT = 1
"""To a node that left its last call unanswered: one call at a time tries whether it is back."""
WAIT_SECONDS = 0.5
"""How long a further call waits for one of these to end; then it is refused."""
SILENT_SECONDS = 1.0
"""A node that had less time for a call is not to blame for the missing answer."""


class _Node:
    def __init__(self, lock: threading.Lock) -> None:
        self.free = threading.Condition(lock)
        self.calls = 0
        self.waiting = 0
        self.silent = False

    @property
    def has_room(self) -> bool:
        return self.calls < (CALLS_WHILE_SILENT if self.silent else CALLS_PER_NODE)


class NodeGate:
    """The calls that are under way, by node."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nodes: dict[str, _Node] = {}

    @contextmanager
    def call(self, name: str, seconds: float) -> Iterator[None]:
        """One call of the node, which has ``seconds``. A block that raises ``NodeUnreachable`` by
        the node's fault after SILENT_SECONDS or later makes it a silent one; one that ends
        otherwise shows that it answers.

        :raises NodeUnreachable: too many calls are under way; the node was not asked.
        """
        node = self._enter(name, min(seconds, WAIT_SECONDS))
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
            has_room = node.free.wait_for(lambda: node.has_room, seconds)
            node.waiting -= 1
            if has_room:
                node.calls += 1
                return node
            why = "left its last call unanswered" if node.silent else "is slow"
            text = f"not asked: the node {why}, and {node.calls} calls wait for it already"
            raise NodeUnreachable(text, is_fault=False)

    def _leave(self, name: str, node: _Node, *, silent: bool) -> None:
        with self._lock:
            node.calls -= 1
            node.silent = silent
            if node.calls or node.waiting or silent:
                node.free.notify_all()
            else:
                del self._nodes[name]
