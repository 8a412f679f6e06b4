"""The agent dies before each of the calls of an operation. After its restart, or after a restart of
the machine, the operation is repeated. It ends as if nothing had happened.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from inventory.nodes.agent.agent import Agent
from inventory.nodes.wire import SourceKind
from tests.linux.machine import Died, Machine, await_notice, two
from tests.nodes.specs import TARGET, derived, namespace, snapshot, volume

SPEC = volume(*two(64, 32), generation=7)
LARGER = volume(*two(64, 96), generation=7)
CLONE = derived(*two(64, 32), kind=SourceKind.CLONE_OF_VOLUME, of="v", generation_of=7)
SHOWN = derived(*two(64, 32), kind=SourceKind.READ_ONLY_SNAPSHOT_VOLUME, of="taken")
TAKEN = snapshot(*two(64, 32), volume_uuid="v")

Operation = Callable[[Agent], Awaitable[Any]]

OPERATIONS: dict[str, Operation] = {
    "create": lambda agent: agent.volumes.ensure("w", SPEC),
    "clone": lambda agent: agent.volumes.ensure("c", CLONE),
    "snapshot": lambda agent: agent.snapshots.ensure("later", TAKEN),
    "snapshot volume": lambda agent: agent.volumes.ensure("r", SHOWN),
    "expand": lambda agent: agent.volumes.change("v", LARGER),
    "export": lambda agent: agent.targets.ensure(TARGET, "v", namespace(3)),
    "unexport": lambda agent: agent.targets.remove(TARGET, "x", 1),
    "remove a volume": lambda agent: agent.volumes.remove("old", 7),
    "remove a snapshot": lambda agent: agent.snapshots.remove("taken", 1),
}


async def prepare(machine: Machine) -> None:
    await machine.boot()
    for uuid in ("v", "x", "old"):
        await machine.agent.volumes.ensure(uuid, SPEC)
    await machine.agent.snapshots.ensure("taken", TAKEN)
    await machine.agent.targets.ensure(TARGET, "x", namespace())


async def state(machine: Machine) -> dict[str, Any]:
    """Return all objects, after empty targets were removed."""
    found = machine.kernel.nvmet.subsystems.values()
    if any(not one.namespaces for one in found):
        await await_notice()
    nvmet = machine.kernel.nvmet
    return {
        "devices": {name: one.size for name, one in sorted(machine.kernel.mapper.devices.items())},
        "suspended": [
            one.name for one in machine.kernel.mapper.devices.values() if one.is_suspended
        ],
        "targets": {
            nqn: (sorted(one.hosts), sorted(one.namespaces), one.attributes["attr_allow_any_host"])
            for nqn, one in nvmet.subsystems.items()
        },
        "ports": [sorted(port.subsystems) for port in nvmet.ports.values() if port.subsystems],
        "ssds": (await machine.engine.facts()).ssds,
        "drift": await machine.drift(),
    }


@pytest.mark.parametrize("reboots", [False, True])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_survives_a_crash_before_any_call(
    tmp_path: Path, name: str, reboots: bool
) -> None:
    operation = OPERATIONS[name]

    async def main() -> None:
        machine = Machine(tmp_path / "m")
        await prepare(machine)
        await operation(machine.agent)
        expected = await state(machine)
        assert expected["drift"] == []
        machine.kill()
        for call in range(1, 300):
            machine = Machine(tmp_path / str(call) / "m")
            await prepare(machine)
            machine.die_at(call)
            try:
                await operation(machine.agent)
            except Died:
                await (machine.reboot() if reboots else machine.boot())
                await operation(machine.agent)
                assert await state(machine) == expected, call
                machine.kill()
            else:
                machine.kill()
                return
        raise AssertionError("the loop must end")

    asyncio.run(main())
