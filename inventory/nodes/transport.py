"""The process's connections to all storage nodes."""

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
from inventory.nodes.https import CannotConnect, Outgoing, Pools, client_context, finish_within
from inventory.nodes.wait_hooks import begin_wait
from provisioner.common.certificate_roles import CertificateRole, require_role

Observer = Callable[[str, str, str, str, float], None]
"""Called after each call with "address:port", method, path template, outcome and seconds. The
outcome is ``OK``, ``UNREACHABLE`` or a refusal's code."""

CALL_SECONDS = 15.0
MOST_BYTES = 2**18

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NodeCall:
    """One call of the node API; ``template`` with ``names`` filled in is its path. An answer of
    more than ``most_bytes`` is given up.
    """

    method: str
    template: str
    names: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    body: bytes | None = None
    most_bytes: int = MOST_BYTES

    @property
    def path(self) -> str:
        names = {key: quote(name, safe="") for key, name in self.names.items()}
        return self.template.format_map(names) + self.query


@dataclass(frozen=True)
class Peer:
    """Which node must answer, and the token that this node, and no other, demands.

    :raises ValueError: a header cannot carry the token.
    """

    node_id: str | None = None
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not (self.token.isascii() and self.token.isprintable()):
            raise ValueError("the token holds characters that a header cannot carry")

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


ANY_NODE = Peer()


class NodeTransport:
    """Pooled HTTPS to storage nodes: one per process, shared by its threads.

    A request is put on the wire once at most: there is no silent retry, not even where a server
    closes a resting connection, so what a caller and an observer see is what happened. Resting
    connections are checked before use and given up long before an agent closes them, which makes
    that case rare; it is ``NodeUnreachable`` then, and repeating is the caller's choice.

    After a fork the child opens connections of its own.

    :raises OSError, ValueError: a file cannot be read; the token is unusable.
    """

    def __init__(
        self,
        *,
        ca_file: str | Path | None = None,
        client_certificate: tuple[str | Path, str | Path] | None = None,
        token: str = "",
        observers: Iterable[Observer] = (),
    ) -> None:
        """``token``: shown where the peer has none; for tools that speak to one node."""
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
        """The status and body that the first connectable address answers.

        Nothing is sent to a server whose certificate is not a storage node's, or is of another
        node than ``peer``.

        The whole call ends within ``timeout`` seconds (default and at most CALL_SECONDS), name
        look-ups apart. A node has CALLS_PER_NODE calls of this process at once; a further one waits
        briefly.

        :raises NodeUnreachable: no address could be connected to, no answer came whole, or the node
            was not asked because too many calls wait for it.
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
                    failures.append(f"{address}: {error}")
                    break
        text = f"port {port}: {'; '.join(failures) or 'no address is known'}"
        now = time.monotonic()
        raise NodeUnreachable(text, is_fault=now < ends_at or now - began >= SILENT_SECONDS)

    def observe(self, address: str, call: NodeCall, outcome: str, seconds: float) -> None:
        """Tell the observers; what they raise is logged and ends there."""
        for observer in self.observers:
            try:
                observer(address, call.method, call.template, outcome, seconds)
            except Exception:
                log.exception("an observer of node calls failed")

    def close(self) -> None:
        """Close the resting connections; the transport stays usable."""
        self._pools.close()

    def _own_gate(self) -> NodeGate:
        if self._process_id != os.getpid():
            self._pools = Pools(self._context)
            self._gate = NodeGate()
            self._process_id = os.getpid()
        return self._gate
