"""QEMU's monitor protocol (QMP), as far as the lab needs it."""

import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SECONDS = 60.0


class Monitor:
    """:raises OSError: the machine does not run, or does not answer."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(SECONDS)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile()

    def __enter__(self) -> Self:
        self._lines.readline()
        self.call("qmp_capabilities")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()
        self._socket.close()

    def call(self, command: str, **arguments: Any) -> None:
        """:raises RuntimeError: QEMU refuses."""
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        for line in self._lines:
            answer = json.loads(line)
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return
