"""Changes of gunicorn's behaviour that its settings do not allow.

In production, HAProxy is in front of gunicorn. It ends TLS and buffers slow requests. The embedded
form has no HAProxy; there, :class:`RequestSocket` and :func:`tls_context` serve TLS. The processes
that handle requests are in :mod:`provisioner.api_process`.
"""

import errno
import json
import ssl
from http import HTTPStatus
from pathlib import Path
from socket import socket

from gunicorn.glogging import Logger
from gunicorn.http.wsgi import Response

CLIENT_SECONDS = 10.0


class RequestSocket(ssl.SSLSocket):
    """The server's end of a TLS connection. It is closed if the client sends or reads nothing for
    CLIENT_SECONDS. Browsers open connections without sending requests, and each would occupy a
    thread.
    """

    def do_handshake(self, block: bool = False) -> None:
        self.settimeout(CLIENT_SECONDS)
        try:
            super().do_handshake(block)
        except TimeoutError:
            raise _too_slow("the handshake") from None

    def setblocking(self, flag: bool) -> None:
        """Set the time limit when gunicorn makes the connection blocking for its next request."""
        super().setblocking(flag)
        if flag:
            self.settimeout(CLIENT_SECONDS)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except TimeoutError:
            raise _too_slow("the request") from None


def _too_slow(what: str) -> ConnectionResetError:
    """Return an error that gunicorn treats as a client that has disconnected: it closes the
    connection, and logs no server error.
    """
    return ConnectionResetError(errno.ECONNRESET, f"{what} arrived too slowly")


class Log(Logger):
    """gunicorn's log, without a line for each request. The API logs requests itself."""

    def access(self, resp: object, req: object, environ: object, request_time: object) -> None:
        return


class SentParts(list[bytes]):
    """Collects the bytes that a response sends. It is used instead of a socket."""

    sendall = list[bytes].append


class WholeResponse(Response):
    """A response that sends its head together with the first part of the body.

    If the process is killed, the client or load balancer then has a complete answer or none, and
    may ask another process. The bytes that were sent first become ``answer`` of the request.
    """

    def write(self, arg: bytes) -> None:
        if self.headers_sent:
            super().write(arg)
            return
        sock, parts = self.sock, SentParts()
        self.sock = parts  # type: ignore[assignment] # only sendall is used
        try:
            super().write(arg)
        finally:
            self.sock = sock
        first = b"".join(parts)
        self.req.answer = first  # type: ignore[attr-defined] # for handle_request
        sock.sendall(first)


def tls_context(
    certificate: Path, key: Path, client_ca: Path | None, *, require_client: bool
) -> ssl.SSLContext:
    """Return a context of a server for TLS 1.2 or newer. With a client CA, it verifies client
    certificates; ``require_client`` makes them mandatory.

    :raises OSError, ssl.SSLError: a file cannot be read, or has the wrong content.
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
    """Answer an invalid HTTP request with the API's envelope instead of gunicorn's HTML."""
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
