"""The API's server beyond gunicorn's settings.

In production HAProxy stands before it, ends TLS and keeps slow requests. The embedded form has no
HAProxy: there :class:`RequestSocket` and :func:`tls_context` serve TLS.
"""

import errno
import json
import ssl
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from socket import socket

from gunicorn.http.wsgi import Response
from gunicorn.util import close_graceful
from gunicorn.workers.gthread import TConn, ThreadWorker

CLIENT_SECONDS = 10.0
LINGER_SECONDS = 1.0


class RequestSocket(ssl.SSLSocket):
    """The server's end of a TLS connection. A client that sends or takes nothing for CLIENT_SECONDS
    loses it: browsers open connections on which they ask for nothing, and each would hold a thread.
    """

    def do_handshake(self, block: bool = False) -> None:
        self.settimeout(CLIENT_SECONDS)
        try:
            super().do_handshake(block)
        except TimeoutError:
            raise _too_slow("the handshake") from None

    def setblocking(self, flag: bool) -> None:
        """gunicorn makes a connection blocking when its next request begins."""
        super().setblocking(flag)
        if flag:
            self.settimeout(CLIENT_SECONDS)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except TimeoutError:
            raise _too_slow("the request") from None


def _too_slow(what: str) -> ConnectionResetError:
    """The error that gunicorn takes for a client that left: closed, not logged as ours."""
    return ConnectionResetError(errno.ECONNRESET, f"{what} came too slowly")


class Connection(TConn):
    """Closed by the thread that served it. gunicorn would wait for the client's end of it in the
    one thread that accepts and dispatches: for HAProxy's after each request.
    """

    def close(self, graceful: bool = False) -> None:
        if not graceful:
            super().close()

    def leave(self) -> None:
        """Give the client LINGER_SECONDS to read what it was sent, then close."""
        with suppress(OSError):
            self.sock.setblocking(True)
        close_graceful(self.sock, LINGER_SECONDS)


class Worker(ThreadWorker):
    """Serves on :class:`Connection`, where the configuration has put it in gunicorn's place."""

    def handle(self, conn: TConn) -> bool:
        again = super().handle(conn)
        if not again and isinstance(conn, Connection):
            conn.leave()
        return again


class Pieces(list[bytes]):
    """In place of a socket: what would be sent."""

    sendall = list[bytes].append


class WholeResponse(Response):
    """The head leaves with the first part of the body. Of a process that is killed a client, or the
    load balancer, then has a whole answer or none, and may ask another process.
    """

    def write(self, arg: bytes) -> None:
        if self.headers_sent:
            super().write(arg)
            return
        sock, pieces = self.sock, Pieces()
        self.sock = pieces  # type: ignore[assignment] # nothing else is asked of it
        try:
            super().write(arg)
        finally:
            self.sock = sock
        sock.sendall(b"".join(pieces))


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
