"""Lets tests switch faults of a node on and off, from any thread."""

from typing import Any, TypedDict, Unpack

from inventory.nodes.engines.simulated.event_loop import LoopThread
from inventory.nodes.engines.simulated.faults import Fault, FaultKind, Faults
from inventory.nodes.engines.simulated.service import NodeService
from inventory.nodes.wire import RefusalCode


class Which(TypedDict, total=False):
    """Which calls the fault affects.

    ``nth``: the first affected call is the nth matching one from now on (1, the default: the next).
    ``times``: how many calls from that one on (default 1; 0: all). ``method``, ``path``: only calls
    with this method, and with a path that starts with this (default: any).
    """

    nth: int
    times: int
    method: str
    path: str


class FaultControl:
    """The faults of one node. Each method returns when its fault is active."""

    def __init__(self, service: NodeService, loop: LoopThread) -> None:
        self._service = service
        self._loop = loop

    @property
    def struck(self) -> int:
        """The number of calls that were affected by a fault since the node was created."""
        return self._service.struck

    def clear(self) -> None:
        """Remove all faults."""
        self.put(Faults())

    def get(self) -> Faults:
        """Return the active faults."""
        return self._service.faults

    def put(self, faults: Faults) -> None:
        """Replace all faults by these. Calls are counted from now on."""
        self._loop.run(self._service.put_faults(faults))

    def go_down(self, seconds: float | None = None) -> None:
        """Refuse connections and reset the existing ones, for ``seconds`` or, without them, for
        ever.
        """
        self._change(down_seconds=seconds)

    def come_up(self) -> None:
        """Accept connections again."""
        self._change(down_seconds=0)

    def fill_up(self, is_full: bool = True) -> None:
        """Report no free space on any SSD."""
        self._change(full=is_full)

    def drop_probes(self, is_on: bool = True) -> None:
        """Send no probes, or send them again."""
        self._change(drop_probes=is_on)

    def slow(self, milliseconds: int, **which: Unpack[Which]) -> None:
        """Delay the work by this many milliseconds. It is done even if the caller stops waiting for
        it.
        """
        self._add(FaultKind.SLOW, which, milliseconds=milliseconds)

    def refuse(self, code: RefusalCode, **which: Unpack[Which]) -> None:
        """Refuse the call without doing anything."""
        self._add(FaultKind.REFUSE, which, code=code)

    def fail(self, **which: Unpack[Which]) -> None:
        """Answer HTTP status 500 without doing anything."""
        self._add(FaultKind.FAIL, which)

    def lose_request(self, **which: Unpack[Which]) -> None:
        """Reset the connection without doing anything."""
        self._add(FaultKind.LOSE_REQUEST, which)

    def lose_reply(self, **which: Unpack[Which]) -> None:
        """Do everything, then reset the connection."""
        self._add(FaultKind.LOSE_REPLY, which)

    def _add(self, kind: FaultKind, which: Which, **more: Any) -> None:
        self._loop.call(self._service.add_fault, Fault(kind=kind, **which, **more))

    def _change(self, **values: Any) -> None:
        faults = self._service.faults.model_copy(update=values)
        self._loop.run(self._service.change_faults(faults))
