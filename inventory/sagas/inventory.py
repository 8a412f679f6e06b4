"""Tasks that take samples of the pool: UpdateInventory, FetchInventory and ResetInventory."""

from typing import Any

from inventory.backend_selectors import ssd_numbers
from inventory.models import Backend
from inventory.nodes.client import NodeClient, NodeRefused, NodeUnreachable
from inventory.nodes.wire import Node
from inventory.sagas.node_calls import CALL_SECONDS, call_nodes
from inventory.services.pool.samples import NoNodeAnswers, sample_add, samples_reset
from tasks.context import Context, Outputs
from tasks.models import TaskType
from tasks.saga import Saga, Step, register

AVAILABLE, UNAVAILABLE = "AVAILABLE", "UNAVAILABLE"


def read_nodes(context: Context) -> Outputs:
    """Read all nodes. For a node that does not answer, the sample contains its stored values."""
    backends = list(Backend.objects.prefetch_related("addresses"))
    nodes, ssds = call_nodes(context, backends, _read), ssd_numbers()
    return {"backends": [_entry(one, ssds.get(one.pk, 0), nodes[one.pk]) for one in backends]}


def read_any_node(context: Context) -> Outputs:
    """Read all nodes. At least one of them must answer.

    :raises NoNodeAnswers: there are nodes, and none can be reached.
    """
    outputs = read_nodes(context)
    states = [entry["state"] for entry in outputs["backends"]]
    if states and AVAILABLE not in states:
        raise NoNodeAnswers(f"none of the {len(states)} backends can be reached")
    return outputs


def store_sample(context: Context) -> None:
    """Store the sample."""
    sample_add(context.outputs["backends"])


def start_over(context: Context) -> None:
    """Delete all samples and store this one."""
    samples_reset()
    sample_add(context.outputs["backends"])


def _read(client: NodeClient) -> Node:
    return client.read_node(timeout=CALL_SECONDS)


def _entry(
    backend: Backend, stored_ssds: int, outcome: Node | NodeRefused | NodeUnreachable
) -> dict[str, Any]:
    if isinstance(outcome, Node) and outcome.persistent_id == backend.pk:
        version, state, ssds = outcome.version, AVAILABLE, len(outcome.ssds)
    else:
        version, state, ssds = backend.version, UNAVAILABLE, stored_ssds
    return {"hardwareId": backend.pk, "version": version, "state": state, "numSSDs": ssds}


_READING_WEIGHT = 9

for _type in (TaskType.UPDATE_INVENTORY, TaskType.FETCH_INVENTORY):
    register(Saga(_type, (Step(read_nodes, _READING_WEIGHT), Step(store_sample))))
register(Saga(TaskType.RESET_INVENTORY, (Step(read_any_node, _READING_WEIGHT), Step(start_over))))
