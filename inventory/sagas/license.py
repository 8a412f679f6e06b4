"""InstallLicense: puts a licence on every node, and then activates it."""

from inventory.models import Backend
from inventory.nodes.client import NodeClient, NodeRefused, NodeUnreachable
from inventory.nodes.wire import License
from inventory.sagas.node_calls import CALL_SECONDS, call_nodes
from inventory.services.licenses import TooFewNodesAccepted, license_take_over
from provisioner.access.secrets import decrypt
from tasks.context import Context
from tasks.models import TaskType
from tasks.saga import Saga, Step, register


def put_on_nodes(context: Context) -> None:
    """Put the licence on all nodes.

    :raises TooFewNodesAccepted: half of the nodes or more did not accept it.
    """
    text = License(license=decrypt(context.outputs["license"]))

    def put(client: NodeClient) -> None:
        client.put_license(text, timeout=CALL_SECONDS)

    outcomes = call_nodes(context, Backend.objects.prefetch_related("addresses"), put)
    failed = [name for name, outcome in outcomes.items() if _is_failure(outcome)]
    if outcomes and 2 * len(failed) >= len(outcomes):
        raise TooFewNodesAccepted(
            f"only {len(outcomes) - len(failed)} of {len(outcomes)} backends accepted the licence, "
            f"and more than half must accept it; not accepted by: {', '.join(sorted(failed)[:10])}"
        )


def take_over(context: Context) -> None:
    """Activate the licence."""
    license_take_over(encrypted_text=context.outputs["license"])


def _is_failure(outcome: object) -> bool:
    return isinstance(outcome, NodeRefused | NodeUnreachable)


register(Saga(TaskType.INSTALL_LICENSE, (Step(put_on_nodes, weight=9), Step(take_over))))
