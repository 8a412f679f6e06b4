"""The network through which simulated nodes reach the targets of other nodes."""

from inventory.nodes.engines.simulated.initiators import Initiators
from inventory.nodes.engines.simulated.peer import Peer
from inventory.nodes.wire import Portal, SyncSpec


class NoAccess(Exception):
    """A host cannot reach a namespace. The text gives the reason."""


class Network:
    """The engines of one process. Use it in one event loop only."""

    def __init__(self) -> None:
        self._engines: list[Peer] = []
        self.initiators = Initiators()

    def join(self, engine: Peer) -> None:
        """Add an engine."""
        self._engines.append(engine)

    def changed(self) -> None:
        """Check all copies, because a target, portal or node was added, changed or removed."""
        for engine in self._engines:
            engine.copies.check()

    def find(self, spec: SyncSpec) -> tuple[Peer, str]:
        """Return the engine and the uuid of the volume of the namespace, if the access rules of
        NVMe-oF allow it.

        :raises NoAccess: no node answers at the portals, the target or namespace does not exist, or
            the host is not admitted.
        """
        there = [engine for engine in self._engines if _answers(engine, spec.portals)]
        if not there:
            places = ", ".join(f"{portal.ip} port {portal.port}" for portal in spec.portals)
            raise NoAccess(f"no node answers at {places}")
        for engine in there:
            if target := engine.targets.get(spec.nqn):
                break
        else:
            raise NoAccess(f"target {spec.nqn} is not there")
        if target.host_nqn != spec.host_nqn:
            raise NoAccess(f"target {spec.nqn} does not admit host {spec.host_nqn}")
        if spec.nsid not in target.namespaces:
            raise NoAccess(f"target {spec.nqn} has no namespace {spec.nsid}")
        return engine, target.namespaces[spec.nsid]


def _answers(engine: Peer, portals: tuple[Portal, ...]) -> bool:
    places = {(portal.ip, portal.port) for portal in portals}
    return not engine.is_cut_off and any((p.ip, p.port) in places for p in engine.portals)
