"""The API's server beyond gunicorn's settings: TLS, slow clients, what is no request at all."""

import errno
import json
import selectors
import ssl
import time
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from socket import socket

from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.wsgi import Response
from gunicorn.util import close_graceful
from gunicorn.workers.gthread import TConn, ThreadWorker

HANDSHAKE_SECONDS = 3.0
REQUEST_SECONDS = 10.0
WRITE_SECONDS = 30.0
LINGER_SECONDS = 1.0
YIELD_SECONDS = 0.002
MOST_WORKERS = 256
NOT_ACCEPTING = -1

# of each worker, by its age; memory that gunicorn's processes share, since they are forked later
_connections = RawArray("i", [NOT_ACCEPTING] * MOST_WORKERS)


class RequestSocket(ssl.SSLSocket):
    """A server's end of a connection, on which nobody can hold a thread for ever.

    The handshake, each whole request and each write have their time; then the connection is over.
    Of a request only the time counts in which its client is waited for.
    """

    _read_seconds = 0.0

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
        began = time.monotonic()
        try:
            if self._read_seconds <= 0:
                raise TimeoutError
            self.settimeout(self._read_seconds)
            return super().recv(buflen, flags)
        except TimeoutError:
            raise _too_slow("the request") from None
        finally:
            self._read_seconds -= time.monotonic() - began
            if self.fileno() >= 0:
                self.settimeout(WRITE_SECONDS)

    def shutdown(self, how: int) -> None:
        """What comes after our end of it is read for LINGER_SECONDS."""
        super().shutdown(how)
        self._read_seconds = LINGER_SECONDS

    def _begin_request(self) -> None:
        self._read_seconds = REQUEST_SECONDS
        self.settimeout(WRITE_SECONDS)


def _too_slow(what: str) -> ConnectionResetError:
    """The error that gunicorn takes for a client that left: closed, not logged as ours."""
    return ConnectionResetError(errno.ECONNRESET, f"{what} came too slowly")


class Connection(TConn):
    """Closed by the thread that served it. gunicorn would wait for the client's end of it in the
    one thread that accepts and dispatches.
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
    """A new connection takes a thread only once something came in on it: idle ones cost nothing.

    Clients keep a connection for many requests, so connections are shared out evenly: a worker that
    has more than another is a moment later at the next.
    """

    def accept(self, listener: socket) -> None:
        if self.nr_conns > min((n for n in _connections if n >= 0), default=0):
            time.sleep(YIELD_SECONDS)
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        self.nr_conns += 1
        connection = Connection(self.cfg, client, address, listener.getsockname())
        connection.set_timeout()
        self.pending_conns.append(connection)
        self.poller.register(
            client, selectors.EVENT_READ, partial(self.on_pending_socket_readable, connection)
        )

    def handle(self, conn: TConn) -> bool:
        again = super().handle(conn)
        if not again and isinstance(conn, Connection):
            conn.leave()
        return again

    def wait_for_and_dispatch_events(self, timeout: float | None) -> None:
        super().wait_for_and_dispatch_events(timeout)
        self.publish()

    def publish(self) -> None:
        """Tell the other workers how many connections there are here."""
        _connections[self.age % MOST_WORKERS] = self.nr_conns if self.alive else NOT_ACCEPTING


class Pieces(list[bytes]):
    """In place of a socket: what would be sent."""

    sendall = list[bytes].append


class WholeResponse(Response):
    """The head leaves with the first part of the body. Of a process that is killed a client, or the
    load balancer, then has a whole answer or none, and may ask another process.

    Who was answered before its body was read is not listened to any more: the connection closes.
    """

    def should_close(self) -> bool:
        return super().should_close() or not _is_read(self.req.body)

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


def _is_read(body: Body | None) -> bool:
    """To its end, so that no thread has to wait for the rest of it."""
    reader = body.reader if body else None
    if isinstance(reader, ChunkedReader):
        return reader.parser is None
    return not isinstance(reader, LengthReader) or reader.length == 0


def forget(worker: ThreadWorker) -> None:
    """A worker that died has no connections."""
    _connections[worker.age % MOST_WORKERS] = NOT_ACCEPTING


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
