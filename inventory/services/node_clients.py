"""How services reach storage nodes."""

from collections.abc import Sequence
from functools import lru_cache

from django.conf import settings

from inventory.metrics import count_node_call
from inventory.models import Backend
from inventory.nodes.client import NodeClient, NodeTransport, Peer
from inventory.nodes.wait_hooks import before_wait
from inventory.services.node_tokens import node_token
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
        observers=[count_node_call],
    )


def node_client(backend: Backend) -> NodeClient:
    """The node of a backend; reads its addresses unless they are prefetched."""
    return node_client_at(backend, backend.mgmt_ips, backend.mgmt_port)


def node_client_at(backend: Backend, mgmt_ips: Sequence[str], mgmt_port: int) -> NodeClient:
    """The node of a backend, at other addresses than it is stored with. A backend that is not
    stored may have no persistentID yet: any node is meant then.
    """
    peer = Peer(backend.persistent_id or None, node_token(backend))
    return NodeClient(node_transport(), mgmt_ips, mgmt_port, peer=peer)
