"""``manage.py node_agent`` as a process, on a machine whose kernel is no storage node."""

import sys
from pathlib import Path

from inventory.nodes.client import NodeClient, NodeRefused, NodeTransport, NodeUnreachable
from inventory.nodes.engines.read_config import read_config
from inventory.nodes.wire import RefusalCode
from tests.linux.nodes import write_config
from tests.nodes.certificates import KeyPair
from tests.spdk.processes import NOWHERE, agent_command, environment
from tests.system.stack import Service
from tests.waiting import eventually


def test_a_node_without_its_kernel_refuses_calls_and_says_why(
    tmp_path: Path, server_pair: KeyPair, transport: NodeTransport
) -> None:
    """The device does not exist, so nothing is written, whatever kernel this machine has."""
    file = write_config(1, tmp_path, server_pair, ["/dev/no-such-drive"])
    node = read_config(file).identity
    client = NodeClient(transport, node.addresses, node.port)
    command = [sys.executable, *agent_command(file)[1:]]
    agent = Service(command, environment(**NOWHERE), tmp_path / "agent.log")

    def is_refused() -> bool:
        try:
            return client.read_node().ssds == ()
        except NodeRefused as refusal:
            return refusal.code is RefusalCode.UNAVAILABLE
        except NodeUnreachable:
            return False

    eventually(is_refused, seconds=60, what=agent.log.read_text)
    eventually(
        lambda: any(word in agent.log.read_text() for word in ("is not up", "cannot be used")),
        seconds=60,
        what=agent.log.read_text,
    )
    assert agent.terminate() == 0
    assert "Traceback" not in agent.log.read_text()
