"""JSON-RPC without the code under test: one call after the other, or raw text."""

import itertools
import json
import socket
from pathlib import Path
from typing import Any

import pytest

SECONDS = 10.0


class Failed(Exception):
    """An error reply."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code


class Client:
    """A client that reconnects by itself after the target died."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ids = itertools.count(1)
        self._socket: socket.socket | None = None
        self._data = b""

    def __call__(self, method: str, /, **params: Any) -> Any:
        """:raises Failed:"""
        body = {"jsonrpc": "2.0", "id": next(self._ids), "method": method}
        return self.ask(body | ({"params": params} if params else {}))

    def ask(self, request: Any) -> Any:
        """:raises Failed:"""
        reply = self.raw(json.dumps(request))
        if "error" in reply:
            raise Failed(reply["error"]["code"], reply["error"]["message"])
        return reply["result"]

    def raw(self, text: str, *, replies: int = 1) -> Any:
        """Return the reply, or a list of replies. None: the connection was closed."""
        stream = self._connected()
        stream.sendall(text.encode())
        found = [self._line(stream) for _ in range(replies)]
        return found[0] if replies == 1 else found

    def silent(self, text: str) -> None:
        """Check that the text gets no answer.

        :raises AssertionError: there is an answer.
        """
        stream = self._connected()
        stream.sendall(text.encode())
        stream.settimeout(0.1)
        with pytest.raises(TimeoutError):
            stream.recv(1)
        stream.settimeout(SECONDS)

    def fails(self, code: int, method: str, /, **params: Any) -> str:
        """Check that the call fails with this code; return the message."""
        with pytest.raises(Failed) as caught:
            self(method, **params)
        assert caught.value.code == code, caught.value
        return str(caught.value)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket, self._data = None, b""

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(SECONDS)
            self._socket.connect(str(self._path))
        return self._socket

    def _line(self, stream: socket.socket) -> Any:
        while b"\n" not in self._data:
            try:
                chunk = stream.recv(2**16)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                self.close()
                return None
            self._data += chunk
        line, self._data = self._data.split(b"\n", 1)
        return json.loads(line)
