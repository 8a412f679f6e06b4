"""The management addresses of storage nodes."""

import logging
from collections.abc import Sequence

from django.db import IntegrityError, transaction

from events.kinds import Kind
from events.recording import record
from inventory.models import Backend, BackendAddress
from inventory.nodes.client import NodeRefused, NodeUnreachable
from inventory.services.node.clients import node_client_at
from inventory.services.node.state import READ_SECONDS

log = logging.getLogger(__name__)


def addresses_store(persistent_id: str, mgmt_ips: Sequence[str], mgmt_port: int) -> None:
    """Store the addresses, in this order, of a backend that has just answered there. Runs in the
    caller's transaction.

    :raises IntegrityError: one of them belongs to another backend.
    """
    Backend.objects.filter(pk=persistent_id).update(mgmt_port=mgmt_port, unanswered_since=None)
    BackendAddress.objects.filter(backend_id=persistent_id).delete()
    BackendAddress.objects.bulk_create(
        BackendAddress(backend_id=persistent_id, position=position, address=address, port=mgmt_port)
        for position, address in enumerate(mgmt_ips)
    )
    addresses = list(mgmt_ips)
    record(Kind.BACKEND_MOVED, backend=persistent_id, addresses=addresses, port=mgmt_port)


def addresses_follow(*, persistent_id: str, mgmt_ips: Sequence[str], mgmt_port: int) -> None:
    """Look for a node at the addresses that it reports, because it does not answer at its stored
    addresses.

    The reported addresses are stored if the node answers there and no other backend has them.
    Nothing is stored if the node has answered at its stored addresses in the meantime, or if an
    operator has set other addresses.
    """
    rows = Backend.objects.filter(pk=persistent_id, unanswered_since__isnull=False)
    backend = rows.first()
    if backend is None:
        return
    about = {"backend": persistent_id, "addresses": ", ".join(mgmt_ips), "port": mgmt_port}
    try:
        node = node_client_at(backend, mgmt_ips, mgmt_port).read_node(timeout=READ_SECONDS)
    except (NodeRefused, NodeUnreachable) as error:
        log.info(
            "the node does not answer at the addresses that it reports",
            extra=about | {"reason": str(error)},
        )
        return
    if node.persistent_id != persistent_id:
        log.warning(
            "another node answers at the addresses that a node reports",
            extra=about | {"found": node.persistent_id},
        )
        return
    try:
        with transaction.atomic(durable=True):
            if rows.select_for_update().first() is None:
                return
            addresses_store(persistent_id, mgmt_ips, mgmt_port)
    except IntegrityError:
        log.warning("a node reports the address of another backend", extra=about)
    else:
        log.warning("a node now uses the addresses that it reports", extra=about)
