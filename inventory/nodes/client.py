"""The provisioner's client for one storage node."""

import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from inventory.nodes.drift import Drift, DriftItem
from inventory.nodes.errors import NodeRefused, NodeUnreachable
from inventory.nodes.parallel_calls import call_all, call_each
from inventory.nodes.syslogs import SyslogServers
from inventory.nodes.transport import ANY_NODE, MOST_BYTES, NodeCall, NodeTransport, Observer, Peer
from inventory.nodes.wire import (
    License,
    NamespaceSpec,
    Node,
    ProvisionerSettings,
    Refusal,
    RefusalCode,
    Snapshot,
    SnapshotList,
    SnapshotSpec,
    Sync,
    SyncSpec,
    Target,
    TargetList,
    Volume,
    VolumeList,
    VolumeSpec,
)

__all__ = [
    "NodeClient",
    "NodeRefused",
    "NodeTransport",
    "NodeUnreachable",
    "Observer",
    "Peer",
    "call_all",
    "call_each",
]

BYTES_OF_LISTS = 8 * 2**20
"""Maximum size of a list of volumes, snapshots or targets: enough for some ten thousand of them."""
BYTES_OF_NODE = 2**20
LISTS = frozenset({"/v1/volumes", "/v1/snapshots", "/v1/targets", "/v1/node/strays"})
LARGE = frozenset({"/v1/node", "/v1/node/syslogs", "/v1/targets/{nqn}"})

NUL = rb"\u0000"
"""In JSON. PostgreSQL stores no text that contains it."""

T = TypeVar("T")
W = TypeVar("W", bound=BaseModel)
Answer = tuple[int, bytes]

VOLUMES = "/v1/volumes"
VOLUME = "/v1/volumes/{uuid}"
SYNC = "/v1/volumes/{uuid}/sync"
SNAPSHOTS = "/v1/snapshots"
SNAPSHOT = "/v1/snapshots/{uuid}"
TARGETS = "/v1/targets"
TARGET = "/v1/targets/{nqn}"
NAMESPACE = "/v1/targets/{nqn}/namespaces/{uuid}"


class NodeClient:
    """A client for one storage node. It uses the first address (name, IPv4 or IPv6) that accepts a
    connection.

    It tries the next address only if no connection was made, never if a request may have been sent.
    Each method takes ``timeout``, the number of seconds for the whole call (default and maximum
    15), and may raise two errors:

    :raises NodeRefused: nothing was changed.
    :raises NodeUnreachable: the change may have been made. This is also raised after a 5xx status,
        a TLS failure or an unreadable answer.
    """

    def __init__(
        self,
        transport: NodeTransport,
        addresses: Sequence[str],
        port: int,
        *,
        peer: Peer = ANY_NODE,
    ) -> None:
        self._transport = transport
        self._peer = peer
        self._addresses = tuple(addresses)
        self._port = port
        first = self._addresses[0] if self._addresses else ""
        self._label = f"[{first}]:{port}" if ":" in first else f"{first}:{port}"

    def read_node(self, *, timeout: float | None = None) -> Node:
        return self._get(Node, "/v1/node", timeout)

    def read_drift(self, *, timeout: float | None = None) -> tuple[DriftItem, ...]:
        """Return the differences between the data plane of the node and the records of its
        agent.
        """
        return self._get(Drift, "/v1/node/strays", timeout).strays

    def put_provisioner(
        self, settings: ProvisionerSettings, *, timeout: float | None = None
    ) -> None:
        """Give the node the settings of its provisioner. From now on it sends probes to
        ``settings.url``, the first one at once.
        """
        self._put("/v1/node/provisioner", settings, timeout)

    def release(self, pool_uuid: str, *, timeout: float | None = None) -> None:
        """Make the node leave this pool, so that it sends no more probes. A node of another pool is
        not changed.
        """
        call = NodeCall("DELETE", "/v1/node/provisioner", {}, query=f"?pool={quote(pool_uuid)}")
        self._call(call, timeout, _expect_gone)

    def read_license(self, *, timeout: float | None = None) -> License:
        return self._get(License, "/v1/node/license", timeout)

    def put_license(self, license: License, *, timeout: float | None = None) -> None:  # noqa: A002
        self._put("/v1/node/license", license, timeout)

    def read_syslogs(self, *, timeout: float | None = None) -> SyslogServers:
        return self._get(SyslogServers, "/v1/node/syslogs", timeout)

    def put_syslogs(self, servers: SyslogServers, *, timeout: float | None = None) -> None:
        self._put("/v1/node/syslogs", servers, timeout)

    def list_volumes(self, *, timeout: float | None = None) -> tuple[Volume, ...]:
        """All volumes of the node, ordered by uuid."""
        return self._get(VolumeList, VOLUMES, timeout).volumes

    def read_volume(self, uuid: str, *, timeout: float | None = None) -> Volume | None:
        return self._find(Volume, VOLUME, timeout, uuid=uuid)

    def ensure_volume(self, uuid: str, spec: VolumeSpec, *, timeout: float | None = None) -> bool:
        """Ensure that the volume exists with this ``spec``. Returns True if it was created, and
        False if it existed.

        An existing volume is not changed. A volume that the node created once and lost is not
        created again.
        """
        return self._put(VOLUME, spec, timeout, uuid=uuid)

    def change_volume(self, uuid: str, spec: VolumeSpec, *, timeout: float | None = None) -> bool:
        """Change the existing volume to ``spec``: a larger size, other limits, or other details of
        its owner. It is never created, so the result is always False.

        :raises NodeRefused: NOT_FOUND: the node does not have the volume.
        """
        return self._write("PATCH", VOLUME, spec, timeout, uuid=uuid)

    def remove_volume(self, uuid: str, generation: int, *, timeout: float | None = None) -> None:
        """Remove the volume. No write with ``generation`` or a lower one can create it again."""
        self._delete(VOLUME, generation, timeout, uuid=uuid)

    def read_sync(self, uuid: str, *, timeout: float | None = None) -> Sync | None:
        """Return the latest copy of the volume. None: the node no longer knows one."""
        return self._find(Sync, SYNC, timeout, uuid=uuid)

    def ensure_sync(self, uuid: str, spec: SyncSpec, *, timeout: float | None = None) -> bool:
        """Ensure that the copy in ``spec`` runs or is done. Returns True if it was started now."""
        return self._put(SYNC, spec, timeout, uuid=uuid)

    def remove_sync(self, uuid: str, generation: int, *, timeout: float | None = None) -> None:
        """Stop and forget the copy. No write with ``generation`` or a lower one can start it."""
        self._delete(SYNC, generation, timeout, uuid=uuid)

    def list_snapshots(self, *, timeout: float | None = None) -> tuple[Snapshot, ...]:
        """All snapshots of the node, ordered by uuid."""
        return self._get(SnapshotList, SNAPSHOTS, timeout).snapshots

    def read_snapshot(self, uuid: str, *, timeout: float | None = None) -> Snapshot | None:
        return self._find(Snapshot, SNAPSHOT, timeout, uuid=uuid)

    def ensure_snapshot(
        self, uuid: str, spec: SnapshotSpec, *, timeout: float | None = None
    ) -> bool:
        """Ensure that the snapshot exists with this ``spec``. Returns True if it was taken, and
        False if it existed.
        """
        return self._put(SNAPSHOT, spec, timeout, uuid=uuid)

    def remove_snapshot(self, uuid: str, generation: int, *, timeout: float | None = None) -> None:
        """Remove the snapshot. No write with ``generation`` or a lower one can create it again."""
        self._delete(SNAPSHOT, generation, timeout, uuid=uuid)

    def list_targets(self, *, timeout: float | None = None) -> tuple[Target, ...]:
        """All targets of the node, ordered by NQN."""
        return self._get(TargetList, TARGETS, timeout).targets

    def read_target(self, nqn: str, *, timeout: float | None = None) -> Target | None:
        return self._find(Target, TARGET, timeout, nqn=nqn)

    def ensure_namespace(
        self, nqn: str, uuid: str, spec: NamespaceSpec, *, timeout: float | None = None
    ) -> bool:
        """Ensure that the volume is a namespace of the target, for ``spec.host_nqn``. Returns True
        if it is new.
        """
        return self._put(NAMESPACE, spec, timeout, nqn=nqn, uuid=uuid)

    def remove_namespace(
        self, nqn: str, uuid: str, generation: int, *, timeout: float | None = None
    ) -> None:
        """Remove the volume from the target. No write with ``generation`` or a lower one can add it
        again.
        """
        self._delete(NAMESPACE, generation, timeout, nqn=nqn, uuid=uuid)

    def _get(self, kind: type[W], template: str, timeout: float | None, **names: str) -> W:
        call = NodeCall("GET", template, names, most_bytes=_most_bytes(template))
        return self._call(call, timeout, lambda answer: _read(kind, answer))

    def _find(self, kind: type[W], template: str, timeout: float | None, **names: str) -> W | None:
        try:
            return self._get(kind, template, timeout, **names)
        except NodeRefused as refusal:
            if refusal.code is RefusalCode.NOT_FOUND:
                return None
            raise

    def _put(self, template: str, value: BaseModel, timeout: float | None, **names: str) -> bool:
        return self._write("PUT", template, value, timeout, **names)

    def _write(
        self, method: str, template: str, value: BaseModel, timeout: float | None, **names: str
    ) -> bool:
        call = NodeCall(method, template, names, body=value.model_dump_json().encode())
        return self._call(call, timeout, _is_new)

    def _delete(self, template: str, generation: int, timeout: float | None, **names: str) -> None:
        call = NodeCall("DELETE", template, names, query=f"?generation={generation}")
        self._call(call, timeout, _expect_gone)

    def _call(self, call: NodeCall, timeout: float | None, parse: Callable[[Answer], T]) -> T:
        started = time.monotonic()
        outcome = "UNREACHABLE"
        try:
            value = parse(
                self._transport.send(self._addresses, self._port, call, timeout, peer=self._peer)
            )
            outcome = "OK"
        except NodeRefused as refusal:
            outcome = refusal.code.value
            raise
        finally:
            seconds = time.monotonic() - started
            self._transport.observe(self._label, call, outcome, seconds)
        return value


def _most_bytes(template: str) -> int:
    """Return the maximum size of a valid answer."""
    if template in LISTS:
        return BYTES_OF_LISTS
    return BYTES_OF_NODE if template in LARGE else MOST_BYTES


def _read(kind: type[W], answer: Answer) -> W:
    _expect(answer, HTTPStatus.OK)
    try:
        return kind.model_validate_json(answer[1])
    except ValidationError as error:
        count = error.error_count()
        raise NodeUnreachable(f"unreadable {kind.__name__}: {count} errors") from error


def _is_new(answer: Answer) -> bool:
    _expect(answer, HTTPStatus.OK, HTTPStatus.CREATED)
    return answer[0] == HTTPStatus.CREATED


def _expect_gone(answer: Answer) -> None:
    _expect(answer, HTTPStatus.NO_CONTENT)


def _expect(answer: Answer, *statuses: HTTPStatus) -> None:
    status, body = answer
    if NUL in body:
        raise NodeUnreachable("a text of the answer contains the character NUL")
    if status in statuses:
        return
    unusable = NodeUnreachable(f"HTTP status {status} instead of {statuses[0]}")
    if not HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        raise unusable
    try:
        refusal = Refusal.model_validate_json(body)
    except ValidationError:
        raise unusable from None
    raise NodeRefused(refusal.code, refusal.message)
