"""Faults of a simulated node. Tests switch them on and off."""

from collections.abc import Iterable
from enum import StrEnum
from itertools import count

from pydantic import Field

from inventory.nodes.wire import RefusalCode, Wire


class FaultKind(StrEnum):
    """The effect of a fault on a call."""

    SLOW = "SLOW"  # the work starts later
    REFUSE = "REFUSE"  # nothing is done
    LOSE_REQUEST = "LOSE_REQUEST"  # nothing is done; the connection is reset
    LOSE_REPLY = "LOSE_REPLY"  # everything is done; the connection is reset
    FAIL = "FAIL"  # nothing is done; HTTP status 500


class Fault(Wire):
    """A fault that affects ``times`` matching calls, starting with the ``nth`` one (1: the
    next).
    """

    kind: FaultKind
    nth: int = Field(default=1, ge=1)
    times: int = Field(default=1, ge=0, description="number of calls; 0: all")
    method: str = Field(default="", description="empty: any")
    path: str = Field(default="", description="prefix of the path; empty: any")
    code: RefusalCode = RefusalCode.UNAVAILABLE
    milliseconds: int = Field(default=0, ge=0, description="of SLOW")

    def concerns(self, method: str, path: str) -> bool:
        """Whether the fault is for calls with this method and path."""
        return self.method in ("", method) and path.startswith(self.path)

    def strikes(self, call: int) -> bool:
        """Whether the fault affects a call. ``call``: 1 for the first matching call."""
        return call >= self.nth and (self.times == 0 or call < self.nth + self.times)


class Faults(Wire):
    """All faults of a node.

    ``down_seconds``: how long connections are refused; 0: not at all; None: until this is changed.
    ``clock_ahead_seconds``: how far the clock of the node is ahead.
    """

    down_seconds: float | None = 0
    full: bool = False
    drop_probes: bool = False
    clock_ahead_seconds: float = 0
    calls: tuple[Fault, ...] = ()


class FaultCounter:
    """Counts the matching calls of each fault. Use it in one event loop only.

    ``struck`` is the number of calls that a fault has affected since the start.
    """

    def __init__(self) -> None:
        self.struck = 0
        self._counted: list[tuple[Fault, count[int]]] = []

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All faults, in the order in which they were added."""
        return tuple(fault for fault, _ in self._counted)

    def put(self, faults: Iterable[Fault]) -> None:
        """Replace all faults by these."""
        self._counted.clear()
        self.add(*faults)

    def add(self, *faults: Fault) -> None:
        """Add these faults, counting from now on."""
        self._counted += [(fault, count(1)) for fault in faults]

    def striking(self, method: str, path: str) -> list[Fault]:
        """Count this call, and return the faults that affect it."""
        striking = [
            fault
            for fault, calls in self._counted
            if fault.concerns(method, path) and fault.strikes(next(calls))
        ]
        self.struck += bool(striking)
        return striking
