"""A host that connects to the fake target's data port."""

import json
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

SECONDS = 10


class NoAccess(Exception):
    """The connect was refused."""


class IoFailed(Exception):
    """The status of a failed request."""


class Host:
    """A host that connects in its constructor.

    :raises NoAccess, OSError: it cannot connect.
    """

    def __init__(self, address: str, port: int, subnqn: str, hostnqn: str) -> None:
        self._socket = socket.create_connection((address, port), SECONDS)
        self._file = self._socket.makefile("rwb")
        self._lock = threading.Lock()
        self.is_closed = False
        self._send({"subnqn": subnqn, "hostnqn": hostnqn})
        header, _ = self._receive()
        if "error" in header:
            self.close()
            raise NoAccess(header["error"])
        self.cntlid = int(header["cntlid"])
        self.namespaces = _by_id(header)

    def rescan(self) -> None:
        """Read the namespaces again, as hosts do when the target reports a change.

        :raises OSError: the target closed the connection.
        """
        with self._lock:
            self._send({"op": "list"})
            self.namespaces = _by_id(self._receive()[0])

    def read(self, nsid: int, offset: int, length: int) -> bytes:
        """:raises IoFailed, OSError:"""
        return self._ask(op="read", nsid=nsid, offset=offset, length=length)

    def write(self, nsid: int, offset: int, data: bytes) -> None:
        """:raises IoFailed, OSError:"""
        self._ask(data, op="write", nsid=nsid, offset=offset)

    def discard(self, nsid: int, offset: int, length: int) -> None:
        """Discard by Dataset Management, as ``fstrim`` and ``blkdiscard`` do.

        :raises IoFailed, OSError: the target refused it, or the connection is lost.
        """
        self._ask(op="unmap", nsid=nsid, offset=offset, length=length)

    def zero(self, nsid: int, offset: int, length: int) -> None:
        """Write zeros by Write Zeroes.

        :raises IoFailed, OSError: the target refused it, or the connection is lost.
        """
        self._ask(op="zero", nsid=nsid, offset=offset, length=length)

    def close(self) -> None:
        self.is_closed = True
        with suppress(OSError):
            self._file.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, data: bytes = b"", **header: Any) -> bytes:
        with self._lock:
            self._send(header, data)
            reply, found = self._receive()
        if "error" in reply:
            raise IoFailed(reply["error"])
        return found

    def _send(self, header: dict[str, Any], data: bytes = b"") -> None:
        self._file.write(json.dumps(header | {"size": len(data)}).encode() + b"\n" + data)
        self._file.flush()

    def _receive(self) -> tuple[dict[str, Any], bytes]:
        line = self._file.readline()
        if not line:
            raise ConnectionResetError("the target closed the connection")
        header: dict[str, Any] = json.loads(line)
        return header, self._file.read(header["size"])


def _by_id(header: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {one["nsid"]: one for one in header["namespaces"]}
