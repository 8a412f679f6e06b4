"""The API's server beyond gunicorn's settings: TLS, slow clients, what is no request at all."""

import errno
import json
import selectors
import ssl
import time
from functools import partial
from http import HTTPStatus
from pathlib import Path
from socket import socket

from gunicorn.workers.gthread import TConn, ThreadWorker

HANDSHAKE_SECONDS = 3.0
REQUEST_SECONDS = 10.0
WRITE_SECONDS = 30.0


class RequestSocket(ssl.SSLSocket):
    """A server's end of a connection, on which nobody can hold a thread for ever.

    The handshake, each whole request and each write have their time; then the connection is over.
    """

    _read_until = 0.0

    def do_handshake(self, block: bool = False) -> None:
        self.settimeout(HANDSHAKE_SECONDS)
        try:
            super().do_handshake(block)
        except TimeoutError:
            raise _too_slow("the handshake") from None
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
            raise _too_slow("the request") from None
        finally:
            if self.fileno() >= 0:
                self.settimeout(WRITE_SECONDS)

    def _begin_request(self) -> None:
        self._read_until = time.monotonic() + REQUEST_SECONDS
        self.settimeout(WRITE_SECONDS)


def _too_slow(what: str) -> ConnectionResetError:
    """The error that gunicorn takes for a client that left: closed, not logged as ours."""
    return ConnectionResetError(errno.ECONNRESET, f"{what} came too slowly")


class Worker(ThreadWorker):
    """A new connection takes a thread only once something came in on it: idle ones cost nothing."""

    def accept(self, listener: socket) -> None:
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        self.nr_conns += 1
        connection = TConn(self.cfg, client, address, listener.getsockname())
        connection.set_timeout()
        self.pending_conns.append(connection)
        self.poller.register(
            client, selectors.EVENT_READ, partial(self.on_pending_socket_readable, connection)
        )


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


def write_error(sock: socket, status_int: int, reason: str, mesg: str) -> None:
    """In place of gunicorn's HTML: the API's envelope, for what is no valid HTTP request."""
    body = json.dumps(_envelope(status_int, mesg or reason)).encode()
    head = (
        f"HTTP/1.1 {status_int} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    try:
        sock.sendall(head.encode("latin-1") + body)
    except OSError:
        return


def _envelope(status: int, description: str) -> dict[str, str]:
    from provisioner.common.api import TRANSPORT_CODES, envelope  # noqa: PLC0415 - needs settings
    from provisioner.common.results import ResultCode  # noqa: PLC0415

    code = TRANSPORT_CODES.get(HTTPStatus(status), ResultCode.BadRequest)
    return envelope(code, f"HTTP Status {status} - {description}")
