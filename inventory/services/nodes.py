"""How services reach storage nodes."""

from functools import lru_cache

from django.conf import settings

from inventory.metrics import count_node_call
from inventory.models import Backend
from inventory.nodes.client import NodeClient, NodeTransport
from inventory.nodes.waits import before_wait
from provisioner.common.database import release_connection

before_wait(release_connection)


@lru_cache(maxsize=1)
def node_transport() -> NodeTransport:
    """The connections of this process to all storage nodes, made at first use."""
    environment = settings.ENVIRONMENT
    pem = environment.node_certificate
    return NodeTransport(
        ca_file=environment.node_ca,
        client_certificate=(pem, pem) if pem else None,
        token=environment.node_token.get_secret_value() or None,
        observers=[count_node_call],
    )


def node_client(backend: Backend) -> NodeClient:
    """The node of a backend; reads its addresses unless they are prefetched."""
    return NodeClient(
        node_transport(), backend.mgmt_ips, backend.mgmt_port, node_id=backend.persistent_id
    )
