"""Servers that misbehave in ways that no agent does, and a server that receives probes."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any

from tests.nodes.certificates import KeyPair

Talk = Callable[[ssl.SSLSocket], None]


def server_context(pair: KeyPair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


@contextmanager
def talking(pair: KeyPair, talk: Talk, address: str = "127.0.0.1") -> Iterator[int]:
    """Return the port of a TLS server that calls ``talk`` with each connection and then closes
    it.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listening:
        listening.settimeout(5)
        thread = threading.Thread(target=_serve, args=(listening, server_context(pair), talk))
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def _serve(listening: socket.socket, context: ssl.SSLContext, talk: Talk) -> None:
    with suppress(OSError):
        while True:
            raw, _ = listening.accept()
            with suppress(OSError), context.wrap_socket(raw, server_side=True) as connection:
                talk(connection)


def answering(*pieces: bytes) -> Talk:
    """Read a request that fits into one record, and answer these bytes."""

    def talk(connection: ssl.SSLSocket) -> None:
        connection.recv(65536)
        for piece in pieces:
            connection.sendall(piece)

    return talk


class ProbeReceiver:
    """Receives ``POST /probe`` like a provisioner. It queues each probe with its bearer token, and
    answers as configured.
    """

    def __init__(self, pair: KeyPair) -> None:
        self.probes: Queue[tuple[str, dict[str, Any]]] = Queue()
        self.reply: dict[str, Any] = {"status": "Success", "description": "Success"}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = json.dumps(receiver.reply).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                receiver.probes.put(
                    (f"{self.path} {self.headers['Authorization']}", json.loads(body))
                )

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Do not log to stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.socket = server_context(pair).wrap_socket(
            self._server.socket, server_side=True
        )
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def next(self, seconds: float = 5) -> dict[str, Any]:
        """Return the next probe.

        :raises queue.Empty: none arrived in time.
        """
        return self.probes.get(timeout=seconds)[1]
