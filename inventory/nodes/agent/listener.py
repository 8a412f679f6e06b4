"""Sockets, TLS and HTTP/1.1 for the application of the agent."""

import asyncio
import logging
import socket
import ssl
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from inventory.nodes.agent.requests import refusal
from inventory.nodes.wire import RefusalCode
from provisioner.common.certificate_roles import CertificateRole, WrongRole, require_role

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send
    from uvicorn._types import ASGI3Application

KEEP_ALIVE_SECONDS = 120
HANDSHAKE_SECONDS = 10
BACKLOG = 128


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TlsFiles:
    """PEM files with the certificate and key of the agent. ``client_ca``: the CA that must have
    signed the certificate of the provisioner. None: callers need no certificate.
    """

    certificate: str | Path
    key: str | Path
    client_ca: str | Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return a TLS context of a server with these files.

        :raises OSError, ssl.SSLError: a file is missing or has the wrong content.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(context)
        if self.client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def renew(self, context: ssl.SSLContext) -> None:
        """Read the files again for new connections. If they cannot be used, this is logged, and the
        previous certificate stays in use.
        """
        try:
            self.context()
            self._load(context)
        except OSError as error:
            log.error("the certificate %s was not renewed: %s", self.certificate, error)
        else:
            log.info("the certificate %s was read again", self.certificate)

    def _load(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self.certificate, self.key)
        if self.client_ca:
            context.load_verify_locations(self.client_ca)


class Listener:
    """An address and port where an application answers. Use it in one event loop only.

    If TLS demands a certificate, only that of the provisioner is accepted: requests with another
    certificate of the same CA are answered 401.

    The port is reserved from the construction to ``release``, also while the listener is closed.
    While it is closed, connections are refused, and no other process can take the port.
    """

    def __init__(self, app: "ASGIApp", tls: ssl.SSLContext, address: str, port: int) -> None:
        self.tls = tls
        self._family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._reservation = self._bind(address, port)
        self.address = address
        self.port: int = self._reservation.getsockname()[1]
        self._app = cast("ASGI3Application", app)
        self._state = ServerState()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Accept connections from now on."""
        if self._server is not None:
            return
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._protocol,
            sock=self._bind(self.address, self.port),
            ssl=self.tls,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            backlog=BACKLOG,
        )

    def close(self) -> None:
        """Refuse new connections and reset the existing ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._state.connections):
            connection.transport.abort()

    def reset(self, client: tuple[str, int]) -> None:
        """Reset the connection from this address and port."""
        for connection in list(self._state.connections):
            if isinstance(connection, HttpToolsProtocol) and connection.client == client:
                connection.transport.abort()

    def release(self) -> None:
        """Close, and release the port."""
        self.close()
        self._reservation.close()

    def _bind(self, address: str, port: int) -> socket.socket:
        bound = socket.socket(self._family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((address, port))
        return bound

    def _protocol(self) -> HttpToolsProtocol:
        kind = _ForProvisioner if self.tls.verify_mode == ssl.CERT_REQUIRED else HttpToolsProtocol
        protocol = kind(_http_config(), self._state, {})
        protocol.app = self._app
        return protocol


class _ForProvisioner(HttpToolsProtocol):
    """A connection on which every caller except the provisioner is refused."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        try:
            require_role(connection.getpeercert(binary_form=True), CertificateRole.PROVISIONER)
        except WrongRole as error:
            log.warning("caller refused: %s", error, extra={"client": str(self.client)})
            self.app = cast("ASGI3Application", refusal(RefusalCode.UNAUTHORIZED, str(error)))


@lru_cache(maxsize=1)
def _http_config() -> Config:
    config = Config(
        app=_no_app,
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    config.load()
    return config


async def _no_app(scope: "Scope", receive: "Receive", send: "Send") -> None:
    """A placeholder; each listener sets its own application."""
