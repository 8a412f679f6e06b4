"""Adds storage nodes to the pool and changes them."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypedDict

from django.conf import settings
from django.db import IntegrityError, transaction

from events.kinds import Kind
from events.recording import record
from inventory.models import Backend, BackendAddress, Portal, Ssd
from inventory.nodes.client import NodeClient, NodeRefused, NodeUnreachable
from inventory.nodes.wire import License, Node
from inventory.services.licenses import license_refuse_full, license_text
from inventory.services.node.addresses import addresses_store
from inventory.services.node.call_time import call_deadline
from inventory.services.node.checks import (
    CALL_SECONDS,
    BackendKnown,
    NodeNotAvailable,
    call_seconds,
    check_location,
    check_reaches_us,
    check_same_node,
    check_usable,
    read_node,
    refuse_known,
)
from inventory.services.node.clients import node_client, node_client_at
from inventory.services.node.controller_slots import slot_take
from inventory.services.node.settings import node_settings_with_token, unavailable_at
from inventory.services.node.state import new_portals, new_ssds, node_facts
from inventory.services.node.tokens import token_columns
from inventory.services.pool.checks import require_pool
from inventory.services.pool.identity import pool_identity
from inventory.services.syslog.settings import syslogs_request_first
from provisioner.common import clock
from provisioner.common.results import ProvisionerError, ResultCode

log = logging.getLogger(__name__)

RELEASE_SECONDS = 3.0
SHOWN = frozenset({"rack", "zone", "region", "host_id"})
"""Columns whose new values an event shows."""


class BackendNotFound(ProvisionerError):
    """There is no such backend in the pool."""

    code = ResultCode.NotExists

    @classmethod
    def of(cls, persistent_id: str) -> "BackendNotFound":
        return cls(f"there is no backend with persistentID {persistent_id!r}")


class BackendChanges(TypedDict, total=False):
    """The columns of a backend to change. None clears a column."""

    rack: str | None
    zone: str | None
    region: str | None
    host_id: str | None
    in_use: bool
    mgmt_port: int
    encrypted_token: str
    token_digest: str


def backend_add(
    *,
    mgmt_ips: Sequence[str],
    mgmt_port: int,
    rack: str | None = None,
    zone: str | None = None,
    region: str | None = None,
    host_id: str | None = None,
    take_over: bool = False,
    node_token: str = "",
) -> Backend:
    """Add the node at the first of ``mgmt_ips`` that accepts a connection. From then on it sends
    probes.

    ``host_id``: by default, the id that the node reports. ``node_token``: the token that a node
    without mutual TLS demands. It is sent to no other node. ``take_over``: add the node even if it
    belongs to another pool.

    The node gets the settings before it is stored. If another request adds the same node at the
    same time and wins, the node may keep the location of this request until its next probe.

    :raises LocationTooLong, BackendKnown, HostHasBackend, NodeHasNoSsd, NodeNotAvailable: the node,
        or one of the values, cannot be used.
    :raises OtherPool: it belongs to another pool, and ``take_over`` is False.
    :raises NoBackendLicensed: the licence does not allow one more backend.
    """
    until = call_deadline()
    place = {"rack": rack, "zone": zone, "region": region}
    check_location(**place)
    token = token_columns(node_token)
    known: dict[str, Any] = {
        "mgmt_ips": mgmt_ips,
        "mgmt_port": mgmt_port,
        "token_digest": token["token_digest"],
    }
    refuse_known(**known, host_id=host_id)
    license_refuse_full()
    backend = Backend(**token, **place, mgmt_port=mgmt_port, refreshed_at=clock.now())
    anyone = node_client_at(backend, mgmt_ips, mgmt_port)
    node = read_node(anyone, mgmt_ips, mgmt_port, until=until)
    check_usable(node)
    check_reaches_us(mgmt_ips)
    _take_over(backend, node, host_id)
    known |= {"host_id": backend.host_id, "persistent_id": backend.persistent_id}
    refuse = partial(refuse_known, **known)
    refuse()
    client = node_client_at(backend, mgmt_ips, mgmt_port)
    require_pool(client, node, take_over=take_over, until=until)
    _hand_over(backend, client, take_over=take_over, until=until)
    _insert(backend, mgmt_ips, node, refuse)
    return backend


def _take_over(backend: Backend, node: Node, host_id: str | None) -> None:
    backend.persistent_id = node.persistent_id
    backend.host_id = host_id or node.host_id
    backend.total_iops = node.total_iops
    backend.total_bw = node.total_bw
    backend.probe_interval = settings.ENVIRONMENT.probe_interval_seconds
    backend.available_until = unavailable_at(backend.refreshed_at)
    for name, value in node_facts(node).items():
        setattr(backend, name, value)


def _hand_over(backend: Backend, client: NodeClient, *, take_over: bool, until: float) -> None:
    """Write the settings onto the node, and the licence if one is installed.

    :raises NodeNotAvailable: the node does not accept them.
    """
    node_settings, backend.token_expires_at = node_settings_with_token(backend)
    told = node_settings.model_copy(update={"take_over": take_over})
    try:
        client.put_provisioner(told, timeout=call_seconds(until))
        if text := license_text():
            client.put_license(License(license=text), timeout=call_seconds(until))
    except (NodeRefused, NodeUnreachable) as error:
        raise NodeNotAvailable(
            f"storage node {backend.persistent_id!r} does not accept the provisioner's settings: "
            f"{error}"
        ) from error


def _insert(
    backend: Backend, mgmt_ips: Sequence[str], node: Node, refuse: Callable[[], None]
) -> None:
    """Store the backend with its addresses, SSDs and portals.

    :raises ProvisionerError: another request stored the same values; ``refuse`` names them.
    """
    try:
        _insert_rows(backend, mgmt_ips, node)
    except IntegrityError:
        refuse()
        raise _changed_meanwhile(backend.persistent_id) from None


def _insert_rows(backend: Backend, mgmt_ips: Sequence[str], node: Node) -> None:
    with transaction.atomic(durable=True):
        license_refuse_full(lock=True)
        backend.controller_slot = slot_take(backend.persistent_id)
        backend.save(force_insert=True)
        BackendAddress.objects.bulk_create(
            BackendAddress(
                backend=backend, position=position, address=address, port=backend.mgmt_port
            )
            for position, address in enumerate(mgmt_ips)
        )
        Ssd.objects.bulk_create(new_ssds(backend.persistent_id, node.ssds))
        Portal.objects.bulk_create(new_portals(backend.persistent_id, node.portals))
        syslogs_request_first(backend)
        record(
            Kind.BACKEND_ADDED,
            backend=backend.pk,
            name=backend.name,
            ssds=len(node.ssds),
            addresses=list(mgmt_ips),
            rack=backend.rack,
            zone=backend.zone,
            region=backend.region,
        )


def _changed_meanwhile(persistent_id: str) -> BackendKnown:
    return BackendKnown(
        f"another request changed backend {persistent_id!r} at the same moment: try again"
    )


def backend_update(
    *, persistent_id: str, changes: BackendChanges, mgmt_ips: Sequence[str] | None = None
) -> None:
    """Change the given values. If the node answers, it gets them at once, otherwise in the answer
    to its next probe.

    :raises BackendNotFound: there is no such backend.
    :raises LocationTooLong, HostHasBackend: one of the values cannot be used.
    :raises NodeNotAvailable: the node does not answer at the new addresses or port.
    :raises BackendKnown: an address with its port, or the nodeToken, belongs to another backend.
    """
    check_location(rack=changes.get("rack"), zone=changes.get("zone"), region=changes.get("region"))
    backend = Backend.objects.prefetch_related("addresses").filter(pk=persistent_id).first()
    if backend is None:
        raise BackendNotFound.of(persistent_id)
    if not changes and mgmt_ips is None:
        return
    place = list(mgmt_ips or backend.mgmt_ips), changes.get("mgmt_port", backend.mgmt_port)
    _refuse_changes(backend, changes, *place)
    moves = place != (backend.mgmt_ips, backend.mgmt_port)
    if moves:
        client = node_client_at(backend, *place)
        check_same_node(backend, read_node(client, *place, until=call_deadline()), *place)
    try:
        _store(persistent_id, changes, place if moves else None)
    except IntegrityError:
        _refuse_changes(backend, changes, *place)
        raise _changed_meanwhile(persistent_id) from None
    settings_push(persistent_id)


def _refuse_changes(
    backend: Backend, changes: BackendChanges, mgmt_ips: Sequence[str], port: int
) -> None:
    refuse_known(
        mgmt_ips=mgmt_ips,
        mgmt_port=port,
        host_id=changes.get("host_id"),
        token_digest=changes.get("token_digest", ""),
        besides=backend.persistent_id,
    )


def _store(
    persistent_id: str, changes: BackendChanges, place: tuple[Sequence[str], int] | None
) -> None:
    with transaction.atomic(durable=True):
        rows = Backend.objects.select_for_update().filter(pk=persistent_id)
        former = rows.first()
        if former is None:
            raise BackendNotFound.of(persistent_id)
        if changes:
            rows.update(**changes)
            _record_changes(former, changes)
        if place:
            addresses_store(persistent_id, *place)


def _record_changes(former: Backend, changes: BackendChanges) -> None:
    in_use = changes.get("in_use", former.in_use)
    if in_use != former.in_use:
        kind = Kind.BACKEND_UNCORDONED if in_use else Kind.BACKEND_CORDONED
        record(kind, backend=former.pk, name=former.name)
    values = {name: value for name, value in changes.items() if name in SHOWN}
    fields = sorted(values | ({"node_token": ""} if "token_digest" in changes else {}))
    if fields:
        about = {"backend": former.pk, "name": former.name}
        record(Kind.BACKEND_CHANGED, fields=fields, values=values, **about)


def settings_push(persistent_id: str) -> None:
    """Write the current settings, with a new token, onto the node of the backend. A failure is
    logged.
    """
    backend = Backend.objects.filter(pk=persistent_id).first()
    if backend is None:
        return
    node_settings, expires_at = node_settings_with_token(backend)
    try:
        node_client(backend).put_provisioner(node_settings, timeout=CALL_SECONDS)
    except (NodeRefused, NodeUnreachable) as error:
        log.warning(
            "settings cannot be sent to a node",
            extra={"backend": persistent_id, "reason": str(error)},
        )
        return
    Backend.objects.filter(pk=persistent_id).update(token_expires_at=expires_at)


def node_release(persistent_id: str, client: NodeClient) -> None:
    """Release the node of a removed backend, if it answers, so that another pool can add it."""
    try:
        client.release(pool_identity().uuid, timeout=RELEASE_SECONDS)
    except (NodeRefused, NodeUnreachable) as error:
        about = {"backend": persistent_id, "reason": str(error)}
        log.warning("a node was not released from the pool", extra=about)
