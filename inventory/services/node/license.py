"""Keeps the licence on nodes equal to the installed one."""

import logging

from inventory.models import Backend
from inventory.nodes.client import NodeRefused, NodeUnreachable
from inventory.nodes.wire import License
from inventory.services.licenses import license_text
from inventory.services.node.clients import node_client

log = logging.getLogger(__name__)

CALL_SECONDS = 5.0


def license_ensure(backend: Backend) -> None:
    """Put the installed licence on the node if it has another one. A failure is logged, and the
    next node check retries.
    """
    client = node_client(backend)
    try:
        held = client.read_license(timeout=CALL_SECONDS)
        installed = License(license=license_text())
        if held != installed:
            client.put_license(installed, timeout=CALL_SECONDS)
    except (NodeRefused, NodeUnreachable) as error:
        about = {"backend": backend.pk, "reason": str(error)}
        log.warning("the licence cannot be put on a node", extra=about)
