"""The bearer tokens of a node's probes."""

import threading
import time
from typing import NamedTuple

from inventory.nodes.wire import AuthorizationServer, ProvisionerSettings
from provisioner.access.client_credentials import token_fetch

RENEWED_AFTER = 0.5
KEPT_SERVERS = 16


class _Kept(NamedTuple):
    text: str
    renew_at: float


class ProbeTokens:
    """The bearer token of a node: the token in its settings, or a token of the authorization
    server.

    A token of the server is kept for half of its lifetime. All nodes of the process with the same
    client share it. It is dropped when the provisioner refuses it.
    """

    def __init__(self) -> None:
        self._kept: dict[AuthorizationServer, _Kept] = {}
        self._lock = threading.Lock()

    def bearer(self, settings: ProvisionerSettings) -> str:
        """Return the token for these settings.

        :raises FetchFailed: the authorization server returned no token.
        """
        server = settings.authorization_server
        if server is None:
            return settings.token
        with self._lock:
            kept = self._kept.get(server)
            if kept is None or kept.renew_at <= time.monotonic():
                kept = self._keep(server)
            return kept.text

    def drop(self, settings: ProvisionerSettings) -> None:
        """Forget the server's token, because the provisioner refused it."""
        if settings.authorization_server:
            with self._lock:
                self._kept.pop(settings.authorization_server, None)

    def _keep(self, server: AuthorizationServer) -> _Kept:
        issued = token_fetch(
            server.token_url,
            client_id=server.client_id,
            client_secret=server.client_secret,
            scope=server.scope,
            ca=server.ca_certificate,
        )
        if len(self._kept) >= KEPT_SERVERS:
            self._kept.clear()
        kept = _Kept(issued.text, time.monotonic() + issued.life_seconds * RENEWED_AFTER)
        self._kept[server] = kept
        return kept
