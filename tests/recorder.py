"""Records the requests of clients: a TCP proxy that forwards every byte."""

import contextlib
import json
import re
import socket
import threading
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

CHUNK_BYTES = 64 * 1024
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Request(NamedTuple):
    """A request as it was sent. ``headers`` are its lines; the first line has the method and the
    path.
    """

    line: str
    headers: frozenset[str]
    content: bytes

    @property
    def call(self) -> str:
        """Method and path."""
        return self.line.removesuffix(" HTTP/1.1")

    @property
    def body(self) -> Any:
        return json.loads(self.content) if self.content else None


class Recorder:
    """A proxy in front of the server at ``url``. Clients call ``self.url``."""

    def __init__(self, url: str) -> None:
        there = urlsplit(url)
        assert there.hostname is not None
        assert there.port is not None
        self._there = there.hostname, there.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._requests: list[Request] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.close()

    @property
    def requests(self) -> list[Request]:
        """The requests, in the order in which they arrived."""
        with self._lock:
            return list(self._requests)

    def forget(self) -> None:
        with self._lock:
            self._requests.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._there)
                for pump, ends in ((self._ask, (client, server)), (self._answer, (server, client))):
                    threading.Thread(target=pump, args=ends, daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        """Forward requests. Each is recorded and forwarded when it is complete."""
        data = b""
        with contextlib.suppress(OSError), client, server:
            while chunk := client.recv(CHUNK_BYTES):
                data += chunk
                while (size := _whole(data)) is not None:
                    with self._lock:
                        self._requests.append(parsed(data[:size]))
                    server.sendall(data[:size])
                    data = data[size:]

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, server:
            while chunk := server.recv(CHUNK_BYTES):
                client.sendall(chunk)


def _whole(data: bytes) -> int | None:
    """Return the length of the first request if it is complete, else None."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    found = LENGTH.search(head)
    length = int(found[1]) if found else 0
    return len(head) + len(end) + length if len(rest) >= length else None


def parsed(data: bytes) -> Request:
    """Parse one complete request."""
    head, _, content = data.partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    return Request(line, frozenset(headers), content)
