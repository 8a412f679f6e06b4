"""What many volumes cost a node on Debian's kernel; ``make lab-test LAB=figures`` prints it. Rates
on an emulated processor mean nothing; their ratio does.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from inventory.nodes.client import NodeClient, NodeTransport
from provisioner.certificates import Authority
from tests.lab.agents import Agents
from tests.lab.conftest import MakeMachine
from tests.lab.machine import CHECKOUT
from tests.lab.node import FOLDER, PYTHON
from tests.linux.crowd import PER_TARGET
from tests.nodes.specs import GIB, MIB, piece, volume

pytestmark = pytest.mark.timeout(7200)

FEW, MANY = 10, 1000
MEASURED = 24
AT_ONCE = 8


def test_what_many_volumes_cost(
    make_machine: MakeMachine, authority: Authority, lab_transport: NodeTransport
) -> None:
    machine = make_machine([(64 * GIB, 4096)])
    machine.await_up()
    agents = Agents(machine, authority, lab_transport, [machine.drives])
    agents.format()
    [client] = agents.clients
    ssd = client.read_node().ssds[0].ssd_id
    create(client, ssd, "first", FEW)
    few = create(client, ssd, "few", MEASURED)

    agents.kill(0)
    script = f"cd {CHECKOUT}; {PYTHON} -m tests.lab.crowd_inside {FOLDER}/1/node.toml {MANY}; sync"
    machine.shell(script, seconds=1800)
    machine.cut_power()
    agents.close()
    machine.await_up()
    agents = Agents(machine, authority, lab_transport, [machine.drives])
    start = time.monotonic()
    agents.start(0)
    restart = time.monotonic() - start
    targets = client.list_targets()
    assert len(targets) == MANY // PER_TARGET
    assert sum(len(one.namespaces) for one in targets) == MANY
    many = create(client, ssd, "many", MEASURED)
    print(
        f"\ncreates per second at {FEW} volumes: {few:.2f}; at {MANY}: {many:.2f};"
        f" ratio {many / few:.2f}; from the start of the agent to {MANY} exports: {restart:.0f} s"
    )
    agents.close()


def create(client: NodeClient, ssd: str, name: str, number: int) -> float:
    """Create so many volumes, AT_ONCE at a time; return how many in a second."""
    start = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        calls = [
            pool.submit(partial(client.ensure_volume, f"{name}-{one}", volume(piece(ssd, 4 * MIB))))
            for one in range(number)
        ]
        assert all(call.result() for call in calls)
    return number / (time.monotonic() - start)
