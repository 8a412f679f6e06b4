"""Many simulated nodes in one process."""

import ipaddress
import resource
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from inventory.nodes.agent.app import make_app
from inventory.nodes.agent.database import Database
from inventory.nodes.agent.listener import TlsFiles
from inventory.nodes.agent.probe_sender import ProbeSender
from inventory.nodes.engines.base import VERSION, EngineFacts
from inventory.nodes.engines.simulated.engine import COPY_RATE
from inventory.nodes.engines.simulated.event_loop import LoopThread
from inventory.nodes.engines.simulated.fault_api import ROUTES
from inventory.nodes.engines.simulated.network import Network
from inventory.nodes.engines.simulated.node import SimulatedNode
from inventory.nodes.engines.simulated.service import NodePlan, NodeService, Surroundings
from inventory.nodes.wire import Portal, Ssd

TOTAL_BW = 4_525_654_016
TOTAL_IOPS = 348_600
FIRST_PROBES_PER_SECOND = 200
NVME_PORT = 4420


@dataclass
class SimulatedFleet:
    """``count`` nodes that serve HTTPS in a background thread while the context is open.

    ``certificate``, ``key``: files of the nodes, for all addresses used. ``ca``: the CA of callers'
    certificates, used only with ``require_client_certificate``. ``token``: the bearer token that
    callers must have; None: any caller is accepted.

    The nodes share ``address`` and use ports from ``base_port`` (0: any free ports). With
    ``own_addresses``, each node has its own address, counted up from ``address``, and the port
    ``base_port``. Their portals differ in the same way, from port 4420 on.

    ``copy_rate``: bytes per second of each copy to another node of the fleet; 0: copies stand
    still. ``store``: an SQLite file that keeps the contents of the nodes across restarts, or
    memory. Persistent ids consist of ``id_prefix`` and the number of the node, like a MAC address.
    Names consist of ``name`` and the number.
    """

    count: int = 4
    _: KW_ONLY
    certificate: str | Path
    key: str | Path
    ca: str | Path | None = None
    require_client_certificate: bool = False
    token: str | None = field(default=None, repr=False)
    address: str = "127.0.0.1"
    own_addresses: bool = False
    base_port: int = 0
    store: str | Path = ":memory:"
    ssds: int = 4
    ssd_bytes: int = 2**40
    copy_rate: int = COPY_RATE
    id_prefix: str = "02:00:00"
    name: str = "node"
    version: str = VERSION
    nodes: tuple[SimulatedNode, ...] = field(default=(), init=False, repr=False)

    def start(self) -> None:
        """Start serving. Returns when all nodes accept connections.

        :raises OSError: a port is in use, a file is missing, or there are too few file descriptors.
        """
        _allow_many_files()
        self._loop = LoopThread("simulated-nodes")
        self._database = Database(self.store, durable=False)
        self._sender = ProbeSender()
        self._services: list[NodeService] = []
        try:
            self._loop.run(self._open())
        except BaseException:
            self.stop()
            raise
        self.nodes = tuple(SimulatedNode(service, self._loop) for service in self._services)

    def stop(self) -> None:
        """Close all ports and end the thread."""
        self._loop.run(self._close())
        self._loop.stop()
        self._sender.close()
        self._database.close()
        self.nodes = ()

    def reset(self) -> None:
        """Make all nodes like new ones: empty, without faults, settings, generations or
        violations.
        """
        self._loop.run(self._reset())

    def set_copy_rate(self, bytes_per_second: int) -> None:
        """Set the copy rate of all nodes until ``reset``; see :class:`SimulatedNode`."""
        for node in self.nodes:
            node.set_copy_rate(bytes_per_second)

    def renew_certificates(self) -> None:
        """Read the certificate files again, for new connections to all nodes."""
        self._loop.call(self._tls_files.renew, self._tls)

    @property
    def violations(self) -> tuple[str, ...]:
        """The violations of all nodes; see :class:`SimulatedNode`."""
        return tuple(text for node in self.nodes for text in node.violations)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    async def _open(self) -> None:
        self._tls = self._tls_files.context()
        shared = Surroundings(
            app=make_app(token=self.token, more_routes=ROUTES),
            tls=self._tls,
            database=self._database,
            sender=self._sender,
            probe_within_seconds=self.count / FIRST_PROBES_PER_SECOND,
            network=Network(),
            copy_rate=self.copy_rate,
        )
        for index in range(self.count):
            service = NodeService(self._plan(index), shared)
            self._services.append(service)
            await service.open()

    @property
    def _tls_files(self) -> TlsFiles:
        client_ca = self.ca if self.require_client_certificate else None
        return TlsFiles(self.certificate, self.key, client_ca)

    async def _close(self) -> None:
        for service in self._services:
            await service.close()

    async def _reset(self) -> None:
        for service in self._services:
            await service.crash()
        self._database.clear()
        for service in self._services:
            await service.reset()

    def _plan(self, index: int) -> NodePlan:
        number = index + 1
        suffix = number.to_bytes(3, "big").hex(":")
        address, port = self._place(index)
        return NodePlan(
            persistent_id=f"{self.id_prefix}:{suffix}",
            name=f"{self.name}-{number}",
            address=address,
            port=port,
            facts=EngineFacts(
                version=self.version,
                target_driver_version=self.version,
                ssds=tuple(self._ssd(number, slot) for slot in range(1, self.ssds + 1)),
                portals=(self._portal(index, address),),
                total_bw=TOTAL_BW,
                total_iops=TOTAL_IOPS,
                expands_spans_online=True,
            ),
        )

    def _place(self, index: int) -> tuple[str, int]:
        if self.own_addresses:
            return str(ipaddress.ip_address(self.address) + index), self.base_port
        return self.address, self.base_port and self.base_port + index

    def _portal(self, index: int, address: str) -> Portal:
        return Portal(ip=address, port=NVME_PORT if self.own_addresses else NVME_PORT + index)

    def _ssd(self, number: int, slot: int) -> Ssd:
        serial = f"{self.id_prefix.replace(':', '')}{number:06x}-{slot}"
        return Ssd(ssd_id=serial, name=f"SSD {slot}", capacity=self.ssd_bytes, free=self.ssd_bytes)


def _allow_many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
