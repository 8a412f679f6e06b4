"""Objects that a start of the SPDK engine cannot restore are restored later."""

from inventory.nodes.wire import Qos
from tests.nodes.specs import MIB, TARGET, namespace, piece, volume
from tests.spdk.machine import Machine, Run
from tests.spdk.rpc import Refused
from tests.spdk.running import RunningTarget

SIZE = 64 * MIB


def test_limits_and_raids_that_a_start_could_not_restore_are_retried(
    run: Run, target: RunningTarget
) -> None:
    async def steps(machine: Machine) -> None:
        agent = await machine.boot()
        qos = Qos(max_iops=1500)
        await agent.volumes.ensure("v", volume(piece("s", SIZE), qos=qos))
        await agent.volumes.ensure("w", volume(piece("s", SIZE), piece("t", SIZE)))
        for nsid, uuid in enumerate("vw", 1):
            await agent.targets.ensure(TARGET, uuid, namespace(nsid))
        before = await machine.seen()
        target.restart()
        busy = Refused(-32602, "Failed to configure rate limit: Resource temporarily unavailable")
        refusals = target.target.server.refusals
        refusals |= {"bdev_set_qos_limit": busy, "bdev_raid_create": busy}
        await agent.start()
        seen = await machine.seen()
        assert (list(seen["subsystems"][TARGET][3]), seen["raids"]) == ([1], [])
        assert await agent.repair() is False
        refusals.clear()
        assert await agent.repair() is True
        assert await machine.seen() == before

    run(steps)
