"""Creates the clients for storage nodes."""

from collections.abc import Sequence
from functools import lru_cache

from django.conf import settings

from inventory.metrics import count_node_call
from inventory.models import Backend
from inventory.nodes.client import NodeClient, NodeTransport, Peer
from inventory.nodes.wait_hooks import before_wait
from inventory.services.node.tokens import node_token
from provisioner.common.database import release_connection

before_wait(release_connection)


@lru_cache(maxsize=1)
def node_transport() -> NodeTransport:
    """The connections of this process to all storage nodes, created at the first call."""
    environment = settings.ENVIRONMENT
    pem = environment.node_certificate
    return NodeTransport(
        ca_file=environment.node_ca,
        client_certificate=(pem, pem) if pem else None,
        observers=[count_node_call],
    )


def node_client(backend: Backend) -> NodeClient:
    """Return a client for the node of the backend. Reads its addresses unless they are
    prefetched.
    """
    return node_client_at(backend, backend.mgmt_ips, backend.mgmt_port)


def node_client_at(backend: Backend, mgmt_ips: Sequence[str], mgmt_port: int) -> NodeClient:
    """Return a client for the node of the backend at other addresses than the stored ones. A
    backend that is not stored yet may have no persistentID. Then any node is accepted.
    """
    peer = Peer(backend.persistent_id or None, node_token(backend))
    return NodeClient(node_transport(), mgmt_ips, mgmt_port, peer=peer)
