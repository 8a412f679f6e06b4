"""Shared steps of the tests of long deletions."""

import asyncio

from tests.nodes.specs import MIB, piece, volume
from tests.spdk.client import Client
from tests.spdk.machine import Disk, Machine
from tests.spdk.running import RunningTarget

SIZE = 64 * MIB
CLUSTER = 4 * MIB
BLOCK = 4096
OLD = b"old!" * (BLOCK // 4)
FOR_EVER = 3600.0


async def fill(machine: Machine, uuid: str) -> None:
    async with Disk(machine, uuid) as host:
        for at in range(0, SIZE, CLUSTER):
            host.write(1, at, OLD)


async def removal(machine: Machine, uuid: str) -> asyncio.Task[None]:
    """Start a removal. Returns when SPDK is clearing the clusters of the volume."""
    name = f"ssd-s/v-{uuid}"
    task = asyncio.create_task(machine.agent.volumes.remove(uuid, 1))
    call = Client(machine.socket)
    while any(one["alias"] == name for one in call("bdev_lvol_get_lvols")):
        await asyncio.sleep(0.001)
    call.close()
    return task


async def endless_removal(machine: Machine, target: RunningTarget) -> asyncio.Task[None]:
    """Start a machine with the volumes ``kept`` and ``old``, and the removal of ``old``. SPDK does
    not finish clearing it.
    """
    agent = await machine.boot()
    for uuid in ("kept", "old"):
        await agent.volumes.ensure(uuid, volume(piece("s", SIZE)))
        await fill(machine, uuid)
    target.clear_for(FOR_EVER)
    return await removal(machine, "old")
