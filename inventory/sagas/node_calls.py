"""Calls to all nodes that report the progress of a task."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from inventory.models import Backend
from inventory.nodes.client import NodeClient, NodeRefused, NodeUnreachable, call_each
from inventory.services.node.clients import node_client
from tasks.context import Context

CALL_SECONDS = 5.0

T = TypeVar("T")


def call_nodes(
    context: Context, backends: Iterable[Backend], call: Callable[[NodeClient], T]
) -> dict[str, T | NodeRefused | NodeUnreachable]:
    """Call all nodes in parallel. Each finished call advances the task.

    :raises LeaseLost: the task ended meanwhile.
    """
    calls = {backend.pk: partial(call, node_client(backend)) for backend in backends}
    outcomes: dict[str, T | NodeRefused | NodeUnreachable] = {}
    for persistent_id, outcome in call_each(calls, call_seconds=CALL_SECONDS):
        outcomes[persistent_id] = outcome
        context.heartbeat(len(outcomes) / len(calls))
    return outcomes
