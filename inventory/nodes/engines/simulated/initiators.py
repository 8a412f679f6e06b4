"""Simulates the hosts of the nodes, with the behaviour of Linux. If Linux would refuse something,
it is a fault of the targets.
"""

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple

from inventory.nodes.engines.base import NOTICE_SECONDS, TargetState
from inventory.nodes.engines.simulated.peer import Peer

FIRST_ID = 1
MEMORY_SECONDS = 60.0
EARLY = 0.1  # share of NOTICE_SECONDS by which timers may fire early


@dataclass
class Controller:
    """A connection of a host to a target on one node. ``namespaces``: the volume of each id.
    ``emptied_at``: when the last namespace was removed, by the clock of the event loop.
    """

    number: int
    namespaces: dict[int, str]
    emptied_at: float = 0.0


class Meaning(NamedTuple):
    """The volume that a namespace id identified, and when it was last seen."""

    volume: str
    seen_at: float


@dataclass
class Subsystem:
    """The knowledge of one host about one target NQN, on all nodes."""

    controllers: dict[Peer, Controller] = field(default_factory=dict)
    meanings: dict[int, Meaning] = field(default_factory=dict)


class Initiators:
    """The hosts that targets admit. To check the rules, each host always counts as connected to
    every target that admits it. So a test need not connect a host to detect a violation. Use it in
    one event loop only.

    ``faults`` of an engine: behaviour of its targets that the kernel of a host refuses, or that
    makes it hang. Each text starts with the message that the kernel logs.
    """

    def __init__(self) -> None:
        self._subsystems: dict[tuple[str, str], Subsystem] = {}

    def apply(self, engine: Peer, target: TargetState) -> None:
        """Process a change of the target to this state."""
        for (host, nqn), other in self._subsystems.items():
            if nqn == target.nqn and host != target.host_nqn:
                other.controllers.pop(engine, None)
        key = (target.host_nqn, target.nqn)
        subsystem = self._subsystems.setdefault(key, Subsystem())
        number = target.controllers.first if target.controllers else FIRST_ID
        controller = subsystem.controllers.get(engine)
        if controller is None or controller.number != number:
            self._connect(engine, subsystem, target.nqn, number)
            controller = subsystem.controllers[engine] = Controller(number, {})
        for nsid, volume in target.namespaces.items():
            self._scan(engine, subsystem, target.nqn, nsid, volume)
        now = asyncio.get_running_loop().time()
        gone = controller.namespaces.keys() - target.namespaces.keys()
        for nsid in target.namespaces.keys() | gone:
            volume = target.namespaces.get(nsid) or controller.namespaces[nsid]
            subsystem.meanings[nsid] = Meaning(volume, now)
        controller.namespaces = dict(target.namespaces)
        if not target.namespaces:
            controller.emptied_at = now

    def remove(self, engine: Peer, target: TargetState) -> None:
        """Process the removal of the target, which disconnects its hosts."""
        subsystem = self._subsystems.get((target.host_nqn, target.nqn))
        controller = subsystem.controllers.pop(engine, None) if subsystem else None
        if controller is None:
            return
        now = asyncio.get_running_loop().time()
        noticed_at = controller.emptied_at + NOTICE_SECONDS * (1 - EARLY)
        if controller.namespaces or now < noticed_at:
            engine.faults.append(
                f"I/O hangs: target {target.nqn} went with namespaces that its host"
                f" {target.host_nqn} still knows: {controller.namespaces}"
            )

    def disconnect(self, engine: Peer, target: TargetState) -> None:
        """Process the disconnection of the host of the target."""
        if subsystem := self._subsystems.get((target.host_nqn, target.nqn)):
            subsystem.controllers.pop(engine, None)

    def clear(self) -> None:
        self._subsystems.clear()

    def _connect(self, engine: Peer, subsystem: Subsystem, nqn: str, number: int) -> None:
        others = (one.number for at, one in subsystem.controllers.items() if at is not engine)
        if number in others:
            engine.faults.append(f"Duplicate cntlid {number}, subsys {nqn}, rejecting")

    def _scan(
        self,
        engine: Peer,
        subsystem: Subsystem,
        nqn: str,
        nsid: int,
        volume: str,
    ) -> None:
        others = [one for at, one in subsystem.controllers.items() if at is not engine]
        for other in others:
            if other.namespaces.get(nsid, volume) != volume:
                text = f"{other.namespaces[nsid]} and {volume}"
                engine.faults.append(
                    f"IDs don't match for shared namespace {nsid} of {nqn}: {text}"
                )
            if any(volume == one and nsid != at for at, one in other.namespaces.items()):
                engine.faults.append(f"duplicate IDs in subsystem {nqn} for nsid {nsid}: {volume}")
            if other.namespaces.get(nsid) == volume:
                engine.faults.append(f"two copies taken for one: nsid {nsid} of {nqn}: {volume}")
        meaning = subsystem.meanings.get(nsid)
        since = asyncio.get_running_loop().time() - MEMORY_SECONDS
        if meaning and meaning.volume != volume and meaning.seen_at > since:
            text = f"{meaning.volume}, now {volume}"
            engine.faults.append(f"identifiers changed for nsid {nsid} of {nqn}: was {text}")
