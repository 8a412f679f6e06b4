"""gunicorn's worker: a process that handles requests. One of its threads accepts connections, waits
for requests on kept ones, and passes requests to the others.
"""

from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from socket import IPPROTO_TCP, SHUT_RDWR, TCP_DEFER_ACCEPT, socket
from socket import MSG_DONTWAIT as _MSG_DONTWAIT
from typing import Any, cast

from gunicorn.util import close_graceful
from gunicorn.workers.gthread import TConn, ThreadWorker

from provisioner.common.known_answers import KnownAnswers

LINGER_SECONDS = 1.0
DEFER_SECONDS = 5
LONGEST_REQUEST = 8192
CLOSES = b"\r\nConnection: close\r\n"
MSG_DONTWAIT = int(_MSG_DONTWAIT)  # adding flags as an enumeration is slow


class Connection(TConn):
    """A connection that is closed by the thread that served it. gunicorn would wait for the client
    to close its end, in the only thread that accepts and dispatches connections.

    ``head``: the first bytes of a request that a thread must answer. ``is_read``: whether the whole
    request was read.
    """

    head = b""
    is_read = False

    def take(self, head: bytes) -> None:
        """Note the first bytes of the next request, which were received already."""
        self.head = head
        if head:
            self.init()
            cast("Any", self.parser).unreader.unread(head)

    def close(self, graceful: bool = False) -> None:
        if not graceful:
            super().close()

    def leave(self) -> None:
        """Close the connection. If the client may still be sending, first allow it LINGER_SECONDS
        to read the answer, which a reset would discard.
        """
        if self.is_read and not self.cfg.is_ssl:
            self.close()
            return
        with suppress(OSError):
            self.sock.setblocking(True)
        close_graceful(self.sock, LINGER_SECONDS)


class Worker(ThreadWorker):
    """A worker of gunicorn. Its thread that accepts connections and waits for requests answers from
    the cache itself (:mod:`provisioner.common.known_answers`).
    """

    def init_process(self) -> None:
        self.known = KnownAnswers()
        self.has_tls: bool = self.cfg.is_ssl
        for listener in [] if self.has_tls else self.sockets:
            # accept a connection when its request has arrived; HAProxy sends it at once
            listener.setsockopt(IPPROTO_TCP, TCP_DEFER_ACCEPT, DEFER_SECONDS)
        super().init_process()

    def accept(self, listener: Any) -> None:
        """Accept a connection. Answer its request from the cache, or pass it to a thread."""
        try:
            sock, client = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        self.nr_conns += 1
        conn = Connection(self.cfg, sock, client, listener.getsockname())
        if self._answered(conn):
            self._wait(conn)
            self.poller.register(sock, EVENT_READ, partial(self.on_client_socket_readable, conn))
        else:
            self.enqueue_req(conn)

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """Answer the next request of a kept connection, or pass it to a thread."""
        if self._answered(conn):
            self.keepalived_conns.remove(conn)
            self._wait(conn)
        else:
            super().on_client_socket_readable(conn, client)

    def _answered(self, conn: Any) -> bool:
        """Answer the request from the cache. False: it is not there, or nothing arrived."""
        if self.has_tls or not self.alive:
            return False
        head = arrived(conn.sock)
        answer = head and self.known.find(conn.client[0], head)
        if answer:
            reply(conn.sock, answer)
            return True
        conn.take(head)
        return False

    def _wait(self, conn: Any) -> None:
        """Note that the connection waits for its next request, or for its end."""
        conn.set_timeout()
        self.keepalived_conns.append(conn)  # in the order of their timeouts

    def handle(self, conn: Any) -> bool:
        conn.is_read = False
        again = super().handle(conn)
        if not again:
            conn.leave()
        return again

    def handle_request(self, req: Any, conn: Any) -> bool:
        head, conn.head = conn.head, b""  # a connection may carry more requests
        self.known.begin()
        again = super().handle_request(req, conn)
        conn.is_read = getattr(req.body.reader, "length", None) == 0  # of a chunked body: unknown
        if head:
            self.known.learn(conn.client[0], head, getattr(req, "answer", b""))
        return again


def arrived(sock: socket) -> bytes:
    """Return the bytes that have arrived, at most LONGEST_REQUEST."""
    try:
        return sock.recv(LONGEST_REQUEST, MSG_DONTWAIT)
    except OSError:  # nothing arrived, or the client disconnected
        return b""


def reply(sock: socket, answer: bytes) -> None:
    """Send the answer, without waiting. Then end the connection if the answer says so, or if the
    client does not read.
    """
    sent = 0
    with suppress(OSError):
        sent = sock.send(answer, MSG_DONTWAIT)
    if sent < len(answer) or CLOSES in answer:
        with suppress(OSError):
            sock.shutdown(SHUT_RDWR)
