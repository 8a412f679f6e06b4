"""The network between fake machines, and hosts on it."""

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.linux.drives import Drive, fail

if TYPE_CHECKING:
    from tests.linux.nvmet import FakeNvmet, Port, Subsystem

Place = tuple[str, str, int]
"""Transport, address and port."""


@dataclass(eq=False)
class Session:
    """A controller, which is a connected host. ``number``: its id."""

    number: int
    nqn: str
    host: str
    port: "Port"
    subsystem: "Subsystem"
    is_open: bool = True

    def device(self, nsid: int) -> Any:
        """Return the device of a namespace. None: the host does not have it.

        :raises OSError: the host is disconnected.
        """
        if not self.is_open:
            raise fail(errno.ENOTCONN)
        namespace = self.subsystem.namespaces.get(nsid)
        return namespace.device if namespace else None

    def size(self, nsid: int) -> int:
        """The size of the namespace, as last told to the host."""
        return self.subsystem.namespaces[nsid].size


class Network:
    """The listeners of all machines. ``drives``: the drives of all machines."""

    def __init__(self) -> None:
        self.drives: list[Drive] = []
        self._listening: dict[Place, tuple[FakeNvmet, Port]] = {}

    def listen(self, place: Place, nvmet: "FakeNvmet", port: "Port") -> None:
        """:raises OSError: EADDRINUSE"""
        if place in self._listening:
            raise fail(errno.EADDRINUSE, str(place))
        self._listening[place] = (nvmet, port)

    def close(self, place: Place) -> None:
        self._listening.pop(place, None)

    def connect(self, place: Place, nqn: str, host: str) -> Session:
        """Connect as a host.

        :raises OSError: nothing listens there, or the host is not allowed to connect.
        """
        if place not in self._listening:
            raise fail(errno.ECONNREFUSED, str(place))
        nvmet, port = self._listening[place]
        return nvmet.connect(port, nqn, host)
