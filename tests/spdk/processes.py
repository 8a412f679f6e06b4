"""A storage node as processes: a fake target, and ``manage.py node_agent`` that uses it."""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from inventory.nodes.client import NodeTransport
from inventory.nodes.engines.spdk.node_config import read_config
from tests.nodes.certificates import KeyPair
from tests.spdk.nodes import NodeCalls, write_config
from tests.system.stack import ROOT, Service

NOWHERE = {
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}
"""Addresses without a server: a process that connects to one of them fails."""


def environment(**more: str) -> dict[str, str]:
    """The environment of a storage node: no secret, no database, no Redis."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT)} | more


def agent_command(config: Path, *arguments: str) -> list[str]:
    return [sys.executable, "manage.py", "node_agent", "--config", str(config), *arguments]


class NodeProcesses(NodeCalls):
    """The processes of a node. Each can be started again after it was killed."""

    def __init__(
        self, number: int, folder: Path, pair: KeyPair, transport: NodeTransport, **options: Any
    ) -> None:
        self.socket = Path(tempfile.mkdtemp(prefix="spdk")) / "s"
        self.file = write_config(number, folder, self.socket, pair, **options)
        self.config = read_config(self.file)
        super().__init__(self.config.identity, transport)
        self.target = self._service("target", ["-m", "tests.spdk.target", "--socket", self.socket])
        self.agent = self._service("agent", agent_command(self.file)[1:])

    def logged(self) -> list[dict[str, Any]]:
        """The agent's log, which is JSON."""
        lines = self.agent.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def close(self) -> None:
        self.agent.kill()
        self.target.kill()

    def _service(self, name: str, arguments: list[Any]) -> Service:
        command = [sys.executable, *map(str, arguments)]
        return Service(command, environment(**NOWHERE), self.file.with_name(f"{name}.log"))


def restart(*nodes: NodeProcesses) -> None:
    """Kill all agents and targets, and wait until all nodes are up again."""
    boots = [node.await_up() for node in nodes]
    for node in nodes:
        node.agent.kill()
        node.target.kill()
        node.target.start()
        node.agent.start()
    for node, boot in zip(nodes, boots, strict=True):
        node.await_up(other_than=boot)
