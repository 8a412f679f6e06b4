"""Several nodes in one machine, whose agents share a process, so that a new agent costs seconds."""

from collections.abc import Sequence
from functools import partial

from inventory.nodes.client import NodeClient, NodeRefused, NodeTransport, NodeUnreachable
from inventory.nodes.engines.linux.names import snapshot_name, volume_name
from provisioner.certificates import Authority
from tests.lab.machine import CHECKOUT, Machine
from tests.lab.node import PYTHON, UP_SECONDS, write_config
from tests.waiting import eventually

LOOK_SECONDS = 1.0
"""Each look takes the machine some of the time in which the agent could start."""


class Agents:
    """``clients``: one for each node. ``drives``: the serial numbers of each node's drives.
    ``transports``: of the portals of each node.
    """

    def __init__(
        self,
        machine: Machine,
        authority: Authority,
        transport: NodeTransport,
        drives: Sequence[Sequence[str]],
        *,
        transports: Sequence[str] = ("tcp",),
    ) -> None:
        self._machine = machine
        ports = machine.agent_ports[: len(drives)]
        files = [
            write_config(
                machine, number, authority, drives=names, port=port.inside, transports=transports
            )
            for number, (names, port) in enumerate(zip(drives, ports, strict=True), 1)
        ]
        self.clients = [NodeClient(transport, ["127.0.0.1"], port.outside) for port in ports]
        script = f"cd {CHECKOUT}; {PYTHON} -m tests.lab.agents_inside {' '.join(files)}"
        self._process = machine.open(script)
        self._await("start")

    def format(self) -> None:
        """Start all nodes on their drives, and overwrite what these hold."""
        for number in range(len(self.clients)):
            self._call(f"format {number}")
            self._await_up(number)
        # a server is installed long before its power fails
        self._machine.shell("sync")

    def save(self) -> None:
        """End all agents, and keep their records for :meth:`renew`."""
        for number in range(len(self.clients)):
            self._call(f"save {number}")

    def clear(self) -> None:
        """End all agents, and remove all volumes and targets."""
        self._call("clear")

    def renew(self, number: int) -> NodeClient:
        """After ``clear``: let a node be as it was at ``save``."""
        self._call(f"new {number}")
        self._await_up(number)
        return self.clients[number]

    def start(self, number: int) -> None:
        self._call(f"start {number}")
        self._await_up(number)

    def kill(self, number: int) -> None:
        self._call(f"kill {number}")

    def restart(self, number: int) -> None:
        """Kill the agent, and start it again."""
        self.kill(number)
        self.start(number)

    def vanish(self, uuid: str) -> None:
        """Remove the last logical volume of a volume or snapshot, and its exports, behind the
        agents' backs.
        """
        self._call(f"vanish {volume_name(uuid)} {snapshot_name(uuid)}")

    def close(self) -> None:
        with self._process:
            self._process.kill()

    def _await_up(self, number: int) -> None:
        eventually(
            partial(self._is_up, number), seconds=UP_SECONDS, what=self._errors, pause=LOOK_SECONDS
        )

    def _is_up(self, number: int) -> bool:
        try:
            return bool(self.clients[number].read_node())
        except (NodeRefused, NodeUnreachable):
            return False

    def _errors(self) -> str:
        """What the agents wrote to standard error: their log."""
        return (self._machine.folder / "errors").read_text()[-4000:]

    def _call(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        self._await(line)

    def _await(self, what: str) -> None:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline().strip()
        assert answer == "ok", f"{what}: {answer}"
