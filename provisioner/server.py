"""What the API's gunicorn does beyond its settings: TLS, slow clients, errors before a request is one."""

import errno
import json
import ssl
import time
from http import HTTPStatus
from pathlib import Path
from socket import socket
from typing import Any

HANDSHAKE_SECONDS = 5.0
REQUEST_SECONDS = 30.0
WRITE_SECONDS = 30.0


class RequestSocket(ssl.SSLSocket):
    """A server's end of a connection, on which nobody can hold a thread for ever.

    The handshake, each whole request and each write have their time; after it the connection is over.
    """

    _read_until = 0.0

    def do_handshake(self, block: bool = False) -> None:
        self.settimeout(HANDSHAKE_SECONDS)
        super().do_handshake(block)
        self._begin_request()

    def setblocking(self, flag: bool) -> None:
        """gunicorn makes a connection blocking when its next request begins."""
        super().setblocking(flag)
        if flag:
            self._begin_request()

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        left = self._read_until - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self.settimeout(left)
            return super().recv(buflen, flags)
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the request came too slowly") from None
        finally:
            if self.fileno() >= 0:
                self.settimeout(WRITE_SECONDS)

    def _begin_request(self) -> None:
        self._read_until = time.monotonic() + REQUEST_SECONDS
        self.settimeout(WRITE_SECONDS)


def tls_context(
    certificate: Path, key: Path, client_ca: Path | None, *, require_client: bool
) -> ssl.SSLContext:
    """TLS 1.2 or newer; with a client CA, certificates of clients are verified, or demanded.

    :raises OSError, ssl.SSLError: a file cannot be read or does not hold what it should.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = RequestSocket
    context.load_cert_chain(certificate, key)
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if require_client else ssl.CERT_OPTIONAL
    return context


def write_error(client: socket, status: int, reason: str, message: str) -> None:
    """In place of gunicorn's HTML: the API's envelope, for what is no valid HTTP request."""
    body = json.dumps(_envelope(status, message or reason)).encode()
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    try:
        client.sendall(head.encode("latin-1") + body)
    except OSError:
        return


def _envelope(status: int, description: str) -> dict[str, Any]:
    from provisioner.common.api import TRANSPORT_CODES, transport_envelope  # noqa: PLC0415 - Django

    known = HTTPStatus(status) if HTTPStatus(status) in TRANSPORT_CODES else HTTPStatus.BAD_REQUEST
    return transport_envelope(known, description)
