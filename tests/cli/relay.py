"""Servers instead of the API: one that loses answers, and one that is no provisioner."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import MappingProxyType
from typing import Any, TypeVar

import urllib3


class _EachMethod(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        """``do_POST`` and the others are ``do_GET``."""
        if name.startswith("do_"):
            return self.do_GET
        raise AttributeError(name)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


class Relay(ThreadingHTTPServer):
    """``lose`` answers are lost, then ``busy`` requests are refused with 503. All other requests
    are forwarded.
    """

    daemon_threads = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = url
        self.lose = 0
        self.busy = 0
        self.seen: list[tuple[str, str | None]] = []
        """Methods and keys of what came."""
        self.http = urllib3.PoolManager(retries=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(_EachMethod):
    server: Relay

    def do_GET(self) -> None:
        relay = self.server
        relay.seen.append((self.command, self.headers.get("Idempotency-Key")))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if relay.busy and not relay.lose:
            relay.busy -= 1
            self.send_response(503)
            self.send_header("Retry-After", "0")
            self.end_headers()
            return
        headers = {k: v for k, v in self.headers.items() if k not in {"Host", "Content-Length"}}
        answer = relay.http.request(
            self.command, relay.upstream + self.path, body=body, headers=headers
        )
        if relay.lose:
            relay.lose -= 1
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(answer.data)))
        self.end_headers()
        self.wfile.write(answer.data)


class SameAnswer(ThreadingHTTPServer):
    """Gives every request the same answer, by default JSON. With ``context``, it uses TLS."""

    daemon_threads = True

    def __init__(
        self,
        body: bytes,
        context: ssl.SSLContext | None = None,
        status: int = 200,
        headers: Mapping[str, str] = MappingProxyType({"Content-Type": "application/json"}),
    ) -> None:
        super().__init__(("127.0.0.1", 0), _SameAnswerHandler)
        self.body, self.status, self.headers = body, status, headers
        self.scheme = "https" if context else "http"
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"


class _SameAnswerHandler(_EachMethod):
    server: SameAnswer

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)


Server = TypeVar("Server", bound=ThreadingHTTPServer)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """A context in which the server runs."""
    with server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
