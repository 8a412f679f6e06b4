"""The connections of this process to all storage nodes."""

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import quote

from urllib3.exceptions import HTTPError

from inventory.nodes.errors import NodeUnreachable
from inventory.nodes.gate import SILENT_SECONDS, NodeGate
from inventory.nodes.https import (
    CannotConnect,
    Outgoing,
    Pools,
    client_context,
    failure_text,
    finish_within,
)
from inventory.nodes.wait_hooks import begin_wait
from provisioner.common.certificate_roles import CertificateRole, require_role

Observer = Callable[[str, str, str, str, float], None]
"""Called after each call with "address:port", method, path template, outcome and seconds. The
outcome is ``OK``, ``UNREACHABLE`` or the code of a refusal.
"""

CALL_SECONDS = 15.0
MOST_BYTES = 2**18

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NodeCall:
    """One call of the node API. ``names`` fill ``template``, which gives the path. Of the answer,
    at most ``most_bytes`` are read.
    """

    method: str
    template: str
    names: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    body: bytes | None = None
    most_bytes: int = MOST_BYTES

    @property
    def path(self) -> str:
        """The path with quoted names, and the query."""
        names = {key: quote(name, safe="") for key, name in self.names.items()}
        return self.template.format_map(names) + self.query


@dataclass(frozen=True)
class Peer:
    """The node that must answer, and the token that this node demands.

    :raises ValueError: the token is not allowed in a header.
    """

    node_id: str | None = None
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not (self.token.isascii() and self.token.isprintable()):
            raise ValueError("the token contains characters that a header cannot carry")

    @property
    def headers(self) -> dict[str, str]:
        """The Authorization header; empty without a token."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


ANY_NODE = Peer()


class NodeTransport:
    """HTTPS connections to storage nodes. A process has one transport, which its threads share.

    A request is sent at most once. There is no silent retry, even if a server closes an idle
    connection, so callers and observers see each failure. This is rare, because idle connections
    are checked before use, and are closed long before an agent closes them. It raises
    ``NodeUnreachable``, and the caller decides whether to repeat the call.

    After a fork, the child process opens its own connections.

    :raises OSError, ValueError: a file cannot be read, or the token is unusable.
    """

    def __init__(
        self,
        *,
        ca_file: str | Path | None = None,
        client_certificate: tuple[str | Path, str | Path] | None = None,
        token: str = "",
        observers: Iterable[Observer] = (),
    ) -> None:
        """Create the transport. ``token``: the token for peers that have none, for tools that talk
        to one node.
        """
        self._context = client_context(ca_file=ca_file, client_certificate=client_certificate)
        self._headers = {"Accept": "application/json", "Content-Type": "application/json"}
        self._default = Peer(token=token)
        self._gate = NodeGate()
        self._pools = Pools(self._context)
        self._process_id = os.getpid()
        self.observers: list[Observer] = list(observers)

    def send(
        self,
        addresses: Sequence[str],
        port: int,
        call: NodeCall,
        timeout: float | None = None,
        *,
        peer: Peer = ANY_NODE,
    ) -> tuple[int, bytes]:
        """Send the call to the first address that accepts a connection. Returns the status and the
        body.

        Nothing is sent to a server unless its certificate is that of a storage node, and of the
        node in ``peer`` if one is named.

        The whole call ends within ``timeout`` seconds (default and maximum CALL_SECONDS), apart
        from name lookups. This process makes at most CALLS_PER_NODE calls at once to a node; a
        further call waits while the node answers others, MOST_WAIT_SECONDS at most.

        :raises NodeUnreachable: no address accepted a connection, no complete answer came, or
            nothing was sent because too many calls wait for the node.
        """
        begin_wait()
        seconds = CALL_SECONDS if timeout is None else min(timeout, CALL_SECONDS)
        node = peer.node_id or f"{next(iter(addresses), '')}:{port}"
        ends_at = time.monotonic() + seconds
        with self._own_gate().call(node, seconds):
            return self._send(addresses, port, call, peer, ends_at)

    def _send(
        self,
        addresses: Sequence[str],
        port: int,
        call: NodeCall,
        peer: Peer,
        ends_at: float,
    ) -> tuple[int, bytes]:
        began = time.monotonic()
        failures = []
        headers = self._headers | self._default.headers | peer.headers
        check = partial(require_role, role=CertificateRole.NODE, node_id=peer.node_id)
        request = Outgoing(call.method, call.path, headers, call.body, call.most_bytes)
        with finish_within(ends_at - began):
            for address in addresses:
                try:
                    return self._pools.call(address, port, request, check)
                except CannotConnect as error:
                    failures.append(f"{address}: {error}")
                except (OSError, HTTPError) as error:
                    failures.append(f"{address}: {failure_text(error)}")
                    break
        text = f"port {port}: {'; '.join(failures) or 'no address is known'}"
        now = time.monotonic()
        raise NodeUnreachable(text, is_fault=now < ends_at or now - began >= SILENT_SECONDS)

    def observe(self, address: str, call: NodeCall, outcome: str, seconds: float) -> None:
        """Call the observers. An exception of an observer is logged and not raised."""
        for observer in self.observers:
            try:
                observer(address, call.method, call.template, outcome, seconds)
            except Exception:
                log.exception("an observer of node calls failed")

    def close(self) -> None:
        """Close the idle connections. The transport stays usable."""
        self._pools.close()

    def _own_gate(self) -> NodeGate:
        if self._process_id != os.getpid():
            self._pools = Pools(self._context)
            self._gate = NodeGate()
            self._process_id = os.getpid()
        return self._gate
