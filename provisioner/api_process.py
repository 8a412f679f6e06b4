"""A process of the API, which gunicorn starts. One of its threads accepts connections, waits for
requests on kept ones, and passes requests to the others.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from socket import IPPROTO_TCP, TCP_DEFER_ACCEPT, socket
from socket import MSG_DONTWAIT as _MSG_DONTWAIT
from typing import Any, cast

from gunicorn.util import close_graceful
from gunicorn.workers.gthread import TConn, ThreadWorker

from provisioner.common.known_answers import KnownAnswers

LINGER_SECONDS = 1.0
DEFER_SECONDS = 5
LONGEST_REQUEST = 8192
HEALTH = b"GET /healthz", b"GET /readyz"
HEALTH_THREADS = 2
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


class ApiProcess(ThreadWorker):
    """The thread that accepts connections also answers from the cache
    (:mod:`provisioner.common.known_answers`).
    """

    def init_process(self) -> None:
        self.known = KnownAnswers()
        self.has_tls: bool = self.cfg.is_ssl
        for listener in [] if self.has_tls else self.sockets:
            # accept a connection when its request has arrived; HAProxy sends it at once
            listener.setsockopt(IPPROTO_TCP, TCP_DEFER_ACCEPT, DEFER_SECONDS)
        self.health_threads = ThreadPoolExecutor(HEALTH_THREADS, "health")
        super().init_process()

    def enqueue_req(self, conn: Any) -> None:
        """Pass the request to a thread. Health checks in plain text have threads of their own: the
        process is not dead, and can answer polls, while requests of others occupy all places.
        """
        is_health = conn.head.startswith(HEALTH)
        answered = (self.health_threads if is_health else self.tpool).submit(self.handle, conn)
        answered.add_done_callback(
            lambda future: self.method_queue.defer(self.finish_request, conn, future)
        )

    def accept(self, listener: Any) -> None:
        """Accept a connection. Answer its request from the cache, or pass it to a thread."""
        try:
            sock, client = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        conn = Connection(self.cfg, sock, client, listener.getsockname())
        answer = self._known_answer(conn)
        if answer and not reply(sock, answer):
            conn.close()
            return
        self.nr_conns += 1
        if answer:
            self._keep(conn)
            self.poller.register(sock, EVENT_READ, partial(self.on_client_socket_readable, conn))
        else:
            self.enqueue_req(conn)

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """Answer the next request of a kept connection, or pass it to a thread."""
        answer = self._known_answer(conn)
        if not answer:
            super().on_client_socket_readable(conn, client)
            return
        self.keepalived_conns.remove(conn)
        if reply(client, answer):
            self._keep(conn)
        else:
            self.poller.unregister(client)
            self.nr_conns -= 1
            conn.close()

    def _known_answer(self, conn: Any) -> bytes | None:
        """The answer from the cache to the request that arrived. Nothing: a thread must answer."""
        is_full = len(self.keepalived_conns) >= self.max_keepalived
        if self.has_tls or is_full or not self.alive:
            return None
        head = arrived(conn.sock)
        if answer := head and self.known.find(conn.client[0], head):
            return answer
        conn.take(head)
        return None

    def _keep(self, conn: Any) -> None:
        """Note that the connection is open for its next request."""
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
        answer = getattr(req, "answer", b"")
        if head and (CLOSES not in answer or req.should_close()):
            self.known.learn(conn.client[0], head, answer)
        return again


def arrived(sock: socket) -> bytes:
    """Return the bytes that have arrived, at most LONGEST_REQUEST."""
    try:
        return sock.recv(LONGEST_REQUEST, MSG_DONTWAIT)
    except OSError:  # nothing arrived, or the client disconnected
        return b""


def reply(sock: socket, answer: bytes) -> bool:
    """Send the answer, without waiting. Returns whether the connection may be used again: the
    answer does not close it, and the client reads.
    """
    sent = 0
    with suppress(OSError):
        sent = sock.send(answer, MSG_DONTWAIT)
    return sent == len(answer) and CLOSES not in answer
