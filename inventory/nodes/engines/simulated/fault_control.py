"""How tests switch a node's faults on and off, from any thread."""

from typing import Any, TypedDict, Unpack

from inventory.nodes.engines.simulated.event_loop import LoopThread
from inventory.nodes.engines.simulated.faults import Fault, FaultKind, Faults
from inventory.nodes.engines.simulated.service import NodeService
from inventory.nodes.wire import RefusalCode


class Which(TypedDict, total=False):
    """Which calls are struck.

    ``nth``: the nth matching call from now on is the first (1, the default, is the next).
    ``times``: how many from that one on (1; 0 is all). ``method``, ``path``: only calls with this
    method, with a path that begins so (default: any).
    """

    nth: int
    times: int
    method: str
    path: str


class FaultControl:
    """The faults of one node. Each method returns when its fault is in force."""

    def __init__(self, service: NodeService, loop: LoopThread) -> None:
        self._service = service
        self._loop = loop

    @property
    def struck(self) -> int:
        """How many calls met a fault since the node was made."""
        return self._service.struck

    def clear(self) -> None:
        """Nothing is wrong any more."""
        self.put(Faults())

    def get(self) -> Faults:
        return self._service.faults

    def put(self, faults: Faults) -> None:
        """Exactly these; calls are counted from now on."""
        self._loop.run(self._service.put_faults(faults))

    def go_down(self, seconds: float | None = None) -> None:
        """Refuse connections, reset those that are there; for ever or for so many seconds."""
        self._change(down_seconds=seconds)

    def come_up(self) -> None:
        self._change(down_seconds=0)

    def fill_up(self, is_full: bool = True) -> None:
        """No SSD has a free byte."""
        self._change(full=is_full)

    def drop_probes(self, is_on: bool = True) -> None:
        self._change(drop_probes=is_on)

    def slow(self, milliseconds: int, **which: Unpack[Which]) -> None:
        """The work begins so much later, even if the caller has given up by then."""
        self._add(FaultKind.SLOW, which, milliseconds=milliseconds)

    def refuse(self, code: RefusalCode, **which: Unpack[Which]) -> None:
        """Nothing is done and the node says so."""
        self._add(FaultKind.REFUSE, which, code=code)

    def fail(self, **which: Unpack[Which]) -> None:
        """Nothing is done; the answer is HTTP status 500."""
        self._add(FaultKind.FAIL, which)

    def lose_request(self, **which: Unpack[Which]) -> None:
        """Nothing is done and the connection is reset."""
        self._add(FaultKind.LOSE_REQUEST, which)

    def lose_reply(self, **which: Unpack[Which]) -> None:
        """All is done, then the connection is reset."""
        self._add(FaultKind.LOSE_REPLY, which)

    def _add(self, kind: FaultKind, which: Which, **more: Any) -> None:
        self._loop.call(self._service.add_fault, Fault(kind=kind, **which, **more))

    def _change(self, **values: Any) -> None:
        faults = self._service.faults.model_copy(update=values)
        self._loop.run(self._service.change_faults(faults))
