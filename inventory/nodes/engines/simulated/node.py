"""A simulated node for use in tests."""

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
    """A simulated node. Its methods may be called from any thread except that of the fleet.

    ``agent`` and ``engine`` belong to the event loop of the fleet. Only read them, and change them
    with the methods here.
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
        """Writes that repeat the name and generation of another write with different content, and
        behaviour that the kernel of a host would refuse if it were connected to all its targets.
        """
        return tuple(self._service.violations)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a call of ``agent`` or ``engine`` in the fleet's event loop."""
        return self._loop.run(work)

    def finish_calls(self) -> None:
        """Wait until the running calls are done, including those whose callers have
        disconnected.
        """
        self._loop.run(self._service.finish_calls())

    def restart(self) -> None:
        """Restart agent and engine as after a crash: running calls are aborted,
        ``bootId`` is new.
        """
        self._loop.run(self._service.restart())

    def lose(self, uuid: str) -> None:
        """Lose a volume or snapshot, its namespaces and its record, and restart;
        ``bootId`` is new.
        """
        self._loop.run(self._service.lose(uuid))

    def vanish(self, uuid: str) -> None:
        """Lose a volume or snapshot in the data plane. The agent still has it on record."""
        self._loop.run(self._service.vanish(uuid))

    def come_back_empty(self) -> None:
        """Lose all volumes, snapshots, targets and generations, and restart. Settings stay;
        ``bootId`` is new.
        """
        self._loop.run(self._service.come_back_empty())

    def lose_targets(self) -> None:
        """Lose all targets, and restart; ``bootId`` is new."""
        self._loop.run(self._service.lose_targets())

    def volumes(self) -> dict[str, VolumeSpec]:
        """The volumes in the engine, by uuid, whether the agent has them on record or not."""
        return self._loop.call(self.engine.volumes)

    def snapshots(self) -> dict[str, SnapshotSpec]:
        """The snapshots in the engine, by uuid, whether the agent has them on record or not."""
        return self._loop.call(self.engine.snapshots)

    def change(self, **facts: Any) -> None:
        """Change :class:`EngineFacts`: ``portals``, ``ssds``, ``host_id`` ..."""
        self._loop.call(lambda: self.engine.change(**facts))

    def set_copy_rate(self, bytes_per_second: int) -> None:
        """Set the rate of copies from this node, also of running ones; 0: they stand still."""
        self._loop.call(self.engine.copies.set_rate, bytes_per_second)

    def write(self, uuid: str, mark: str) -> None:
        """Simulate a host that writes the whole volume. ``mark`` represents the content."""
        self._loop.call(self.engine.write, uuid, mark)

    def read(self, uuid: str) -> str:
        """Return the mark of the content of the volume: written, inherited or copied. "" means
        zeros.
        """
        return self._loop.call(self.engine.read, uuid)

    def set_connected_hosts(self, nqn: str, host_nqns: Iterable[str]) -> None:
        """Set the hosts that have a session with this target, while the target exists."""
        self._loop.call(self.engine.hosts.__setitem__, nqn, tuple(host_nqns))

    def set_syslogs(self, servers: Iterable[SyslogServer]) -> None:
        """Change the syslog servers at the node itself."""
        self._loop.call(self.agent.put_syslogs, SyslogServers(servers=tuple(servers)))

    def wake_prober(self) -> None:
        """Send a probe now."""
        self._loop.call(self._service.prober.wake)
