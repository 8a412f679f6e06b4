"""What a call of the node API costs the kernel does not depend on the number of volumes."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from inventory.nodes.engines.linux.nvmet import ROOT
from inventory.nodes.wire import SourceKind
from tests.linux.crowd import PER_TARGET, crowd
from tests.linux.machine import Machine
from tests.nodes.specs import MIB, TARGET, derived, namespace, piece, snapshot, volume

SIZE = 64 * MIB
FEW, MANY = 10, 1000
WRITES = {"write", "make", "remove", "link", "unlink"}

THICK = volume(piece("s", SIZE))
SPAN = volume(piece("s", SIZE), piece("t", SIZE))
LARGER = volume(piece("s", 2 * SIZE))
TAKEN = snapshot(piece("s", SIZE, 0), volume_uuid="v", volume_generation=1)
CLONE = derived(piece("s", SIZE, 0), kind=SourceKind.CLONE_OF_SNAPSHOT, of="taken")

STEPS: dict[str, Callable[[Machine], Awaitable[object]]] = {
    "create": lambda machine: machine.agent.volumes.ensure("v", THICK),
    "create a span": lambda machine: machine.agent.volumes.ensure("w", SPAN),
    "read": lambda machine: machine.agent.volumes.read("v"),
    "node": lambda machine: machine.agent.node(),
    "publish": lambda machine: machine.agent.targets.ensure(TARGET, "v", namespace()),
    "publish a span": lambda machine: machine.agent.targets.ensure(TARGET, "w", namespace(2)),
    "read the target": lambda machine: machine.agent.targets.read(TARGET),
    "publish again": lambda machine: machine.agent.targets.ensure(TARGET, "v", namespace()),
    "unpublish one": lambda machine: machine.agent.targets.remove(TARGET, "w", 1),
    "snapshot": lambda machine: machine.agent.snapshots.ensure("taken", TAKEN),
    "clone": lambda machine: machine.agent.volumes.ensure("clone", CLONE),
    "remove the clone": lambda machine: machine.agent.volumes.remove("clone", 1),
    "remove the snapshot": lambda machine: machine.agent.snapshots.remove("taken", 1),
    "expand": lambda machine: machine.agent.volumes.change("v", LARGER),
    "remove a span": lambda machine: machine.agent.volumes.remove("w", 1),
    "unpublish": lambda machine: machine.agent.targets.remove(TARGET, "v", 1),
    "remove": lambda machine: machine.agent.volumes.remove("v", 1),
}

Cost = tuple[int, int, int]
"""Commands, reads of files, and changes in configfs."""


def cost(log: list[tuple[str, ...]]) -> Cost:
    changes = [words for words in log if words[0] in WRITES]
    assert all(words[1].startswith(ROOT) for words in changes)
    reads = Counter(words[0] for words in log)
    read = reads["read"] + reads["names"] + reads["exists"]
    return len(log) - read - len(changes), read, len(changes)


def costs(folder: Path, number: int) -> dict[str, Cost]:
    found = {}

    async def main() -> None:
        machine = Machine(folder)
        await crowd(machine, number, exported=range(0, number, 5))
        for name, step in STEPS.items():
            machine.kernel.log.clear()
            await step(machine)
            found[name] = cost(machine.kernel.log)
        machine.kill()

    asyncio.run(main())
    return found


def test_what_an_operation_costs_does_not_depend_on_the_number_of_volumes(tmp_path: Path) -> None:
    few, many = costs(tmp_path / "few", FEW), costs(tmp_path / "many", MANY)
    assert many == few
    assert (many["create"][0], many["create"][2]) == (3, 0)


def test_a_restart_of_the_machine_runs_no_command_for_a_volume(tmp_path: Path) -> None:
    """Only configfs has something to do for each export."""

    async def main() -> None:
        machine = Machine(tmp_path / "m")
        await crowd(machine, 1000, exported=range(500))
        machine.kernel.log.clear()
        await machine.reboot()
        commands, _, changes = cost(machine.kernel.log)
        assert commands < 40
        assert changes <= 5 * 500 + 10 * 500 / PER_TARGET + 5
        machine.kill()

    asyncio.run(main())
