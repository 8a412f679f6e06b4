"""A simulated node as tests see it."""

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from inventory.nodes.agent.agent import Agent
from inventory.nodes.engines.simulated.engine import SimulatedEngine
from inventory.nodes.engines.simulated.event_loop import LoopThread
from inventory.nodes.engines.simulated.fault_control import FaultControl
from inventory.nodes.engines.simulated.service import NodeService
from inventory.nodes.syslogs import SyslogServer, SyslogServers
from inventory.nodes.wire import SnapshotSpec, VolumeSpec

T = TypeVar("T")


class SimulatedNode:
    """Its methods may be called from any thread but the fleet's own.

    ``agent`` and ``engine`` live in the fleet's event loop: read them, call them through ``change``
    and the like.
    """

    def __init__(self, service: NodeService, loop: LoopThread) -> None:
        identity = service.agent.identity
        self.persistent_id = identity.persistent_id
        self.name = identity.name
        self.address = identity.addresses[0]
        self.port = identity.port
        self.agent: Agent = service.agent
        self.engine: SimulatedEngine = service.engine
        self.faults = FaultControl(service, loop)
        self._service = service
        self._loop = loop

    @property
    def violations(self) -> tuple[str, ...]:
        """Writes that had the name and generation of another one but a different content, and
        what the kernel of a host that is connected to all its targets would refuse.
        """
        return tuple(self._service.violations)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """A call of ``agent`` or ``engine`` in the fleet's loop."""
        return self._loop.run(work)

    def restart(self) -> None:
        """Agent and engine die and come back: calls in flight end halfway, ``bootId`` is new."""
        self._loop.run(self._service.restart())

    def lose(self, uuid: str) -> None:
        """As if an SSD forgot a volume or snapshot, with its namespaces; ``bootId`` is new."""
        self._loop.run(self._service.lose(uuid))

    def vanish(self, uuid: str) -> None:
        """A volume or snapshot vanishes from the data plane; the agent has it on record still."""
        self._loop.run(self._service.vanish(uuid))

    def come_back_empty(self) -> None:
        """All volumes, snapshots, targets and seen generations are gone; settings stay; ``bootId``
        is new.
        """
        self._loop.run(self._service.come_back_empty())

    def lose_targets(self) -> None:
        """As if the node forgot all its targets; ``bootId`` is new."""
        self._loop.run(self._service.lose_targets())

    def volumes(self) -> dict[str, VolumeSpec]:
        """What the engine holds, by uuid, whatever the agent believes."""
        return self._loop.call(self.engine.volumes)

    def snapshots(self) -> dict[str, SnapshotSpec]:
        """What the engine holds, by uuid, whatever the agent believes."""
        return self._loop.call(self.engine.snapshots)

    def change(self, **facts: Any) -> None:
        """Other :class:`EngineFacts` from now on: ``portals``, ``ssds``, ``host_id`` ..."""
        self._loop.call(lambda: self.engine.change(**facts))

    def set_copy_rate(self, bytes_per_second: int) -> None:
        """Of the copies from this node, also of those under way; 0: they stand still."""
        self._loop.call(self.engine.copies.set_rate, bytes_per_second)

    def write(self, uuid: str, mark: str) -> None:
        """As if a host wrote the whole volume; ``mark`` stands for the content."""
        self._loop.call(self.engine.write, uuid, mark)

    def read(self, uuid: str) -> str:
        """The mark of what the volume holds: written, inherited or copied; "" is zeros."""
        return self._loop.call(self.engine.read, uuid)

    def set_connected_hosts(self, nqn: str, host_nqns: Iterable[str]) -> None:
        """The hosts that have a session with this target, while there is such a target."""
        self._loop.call(self.engine.hosts.__setitem__, nqn, tuple(host_nqns))

    def set_syslogs(self, servers: Iterable[SyslogServer]) -> None:
        """As if somebody changed them at the node."""
        self._loop.call(self.agent.put_syslogs, SyslogServers(servers=tuple(servers)))

    def wake_prober(self) -> None:
        """Probe now."""
        self._loop.call(self._service.prober.wake)
