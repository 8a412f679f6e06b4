"""Faults of a simulated node, switched on and off by tests."""

from collections.abc import Iterable
from enum import StrEnum
from itertools import count

from pydantic import Field

from inventory.nodes.wire import RefusalCode, Wire


class FaultKind(StrEnum):
    SLOW = "SLOW"  # the work begins later
    REFUSE = "REFUSE"  # nothing is done
    LOSE_REQUEST = "LOSE_REQUEST"  # nothing is done; the connection is reset
    LOSE_REPLY = "LOSE_REPLY"  # all is done; the connection is reset
    FAIL = "FAIL"  # nothing is done; HTTP status 500


class Fault(Wire):
    """What happens to some calls: to those from the ``nth`` on that matches (1 is the next)."""

    kind: FaultKind
    nth: int = Field(default=1, ge=1)
    times: int = Field(default=1, ge=0, description="how many calls; 0: all")
    method: str = Field(default="", description="empty: any")
    path: str = Field(default="", description="how the path begins; empty: any")
    code: RefusalCode = RefusalCode.UNAVAILABLE
    milliseconds: int = Field(default=0, ge=0, description="of SLOW")

    def concerns(self, method: str, path: str) -> bool:
        return self.method in ("", method) and path.startswith(self.path)

    def strikes(self, call: int) -> bool:
        """``call``: 1 for the first call that it concerns."""
        return call >= self.nth and (self.times == 0 or call < self.nth + self.times)


class Faults(Wire):
    """All that is wrong with a node.

    ``down_seconds``: connections are refused for so long; 0 is not at all, None is until changed.
    """

    down_seconds: float | None = 0
    full: bool = False
    drop_probes: bool = False
    calls: tuple[Fault, ...] = ()


class FaultCounter:
    """Counts the calls that each fault concerns. For one event loop.

    ``struck`` is the number of calls that met a fault since the start.
    """

    def __init__(self) -> None:
        self.struck = 0
        self._counted: list[tuple[Fault, count[int]]] = []

    @property
    def faults(self) -> tuple[Fault, ...]:
        return tuple(fault for fault, _ in self._counted)

    def put(self, faults: Iterable[Fault]) -> None:
        """These instead of those before."""
        self._counted.clear()
        self.add(*faults)

    def add(self, *faults: Fault) -> None:
        """These too, counted from now on."""
        self._counted += [(fault, count(1)) for fault in faults]

    def striking(self, method: str, path: str) -> list[Fault]:
        """The faults that strike this call, which is thereby counted."""
        striking = [
            fault
            for fault, calls in self._counted
            if fault.concerns(method, path) and fault.strikes(next(calls))
        ]
        self.struck += bool(striking)
        return striking
