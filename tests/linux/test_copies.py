"""Copies between nodes on the Linux kernel: content, progress, stop and resume."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from inventory.nodes.engines.linux.engine import LOOKS
from inventory.nodes.engines.retries import Retries
from inventory.nodes.wire import Piece, SyncState
from tests.linux.machine import WATCH, Machine, two
from tests.nodes.specs import COPY_TARGET, MIB, NODE_HOST, namespace, piece, sync, volume

PATTERN = b"copied" * 1000
CHUNK = 2**20

Steps = Callable[[Machine, Machine], Coroutine[Any, Any, None]]


def on_two_machines(folder: Path, steps: Steps) -> None:
    """Run the steps on two connected machines, with a volume ``v`` on the first one."""

    async def main() -> None:
        one = Machine(folder / "one")
        other = Machine(folder / "other", one.network)
        for machine in (one, other):
            await machine.boot()
        await steps(one, other)
        for machine in (one, other):
            machine.kill()

    asyncio.run(main())


async def fill(machine: Machine, *pieces: Piece) -> None:
    await machine.agent.volumes.ensure("v", volume(*pieces))
    size = sum(one.capacity for one in pieces)
    async with machine.disk("v") as disk:
        for offset in (0, 5 * MIB, size - 8192):
            disk.write(offset, PATTERN)


async def receive(machine: Machine, *pieces: Piece) -> None:
    await machine.agent.volumes.ensure("filled", volume(*pieces))
    spec = namespace(host_nqn=NODE_HOST, by_piece=len(pieces) > 1)
    await machine.agent.targets.ensure(COPY_TARGET, "filled", spec)


async def ended(machine: Machine) -> SyncState:
    while (found := await machine.agent.syncs.read("v")).state is SyncState.RUNNING:
        await asyncio.sleep(0.001)
    assert found.state is SyncState.DONE or found.message
    return found.state


def chunks(machine: Machine) -> list[int]:
    """Return the offsets that were copied since the log was cleared."""
    return [int(words[2]) for words in machine.kernel.log if words[0] == "copy"]


async def begun(one: Machine, other: Machine) -> None:
    """Start a copy from one machine to the other. Returns when a part is copied."""
    await fill(one, piece("s", 64 * MIB))
    await receive(other, piece("s", 64 * MIB))
    await one.agent.syncs.ensure("v", sync((other.portal,)))
    while not chunks(one):
        await asyncio.sleep(0)


def test_everything_is_copied_and_nothing_stays_connected(tmp_path: Path) -> None:
    async def steps(one: Machine, other: Machine) -> None:
        await fill(one, *two(64, 32))
        await receive(other, *two(64, 32))
        await one.agent.syncs.ensure("v", sync((other.portal,)))
        assert await ended(one) is SyncState.DONE
        assert one.kernel.controllers == {}
        await other.agent.targets.remove(COPY_TARGET, "filled", 1)
        async with one.disk("v") as source, other.disk("filled") as copied:
            assert copied.read(0, 96 * MIB) == source.read(0, 96 * MIB)

    on_two_machines(tmp_path, steps)


def test_only_what_the_pool_has_is_read_and_sent(tmp_path: Path) -> None:
    async def steps(one: Machine, other: Machine) -> None:
        await one.agent.volumes.ensure("v", volume(piece("s", 512 * MIB)))
        async with one.disk("v") as disk:
            disk.write(2 * MIB, PATTERN)
        await receive(other, piece("s", 512 * MIB))
        one.kernel.log.clear()
        await one.agent.syncs.ensure("v", sync((other.portal,)))
        assert await ended(one) is SyncState.DONE
        assert len(chunks(one)) == 3
        group = other.drives[0].group
        assert group
        assert len(group.volumes["v-filled"].chunks) * 65536 == MIB

    on_two_machines(tmp_path, steps)


def test_a_copy_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    async def steps(one: Machine, other: Machine) -> None:
        await fill(one, piece("s", 64 * MIB))
        await receive(other, piece("s", 64 * MIB))

        def on_call(words: tuple[str, ...]) -> None:
            if words[0] == "copy" and int(words[2]) == 20 * CHUNK:
                raise OSError(5, "Input/output error")

        one.kernel.on_call = on_call
        spec = sync((other.portal,))
        await one.agent.syncs.ensure("v", spec)
        assert await ended(one) is SyncState.FAILED
        assert (await one.agent.syncs.read("v")).bytes_done == 20 * CHUNK
        await one.boot()
        one.kernel.log.clear()
        await one.agent.syncs.ensure("v", spec)
        assert await ended(one) is SyncState.DONE
        assert chunks(one) == [place * CHUNK for place in range(20, 64)]
        await other.agent.targets.remove(COPY_TARGET, "filled", 1)
        async with one.disk("v") as source, other.disk("filled") as copied:
            assert copied.read(0, 64 * MIB) == source.read(0, 64 * MIB)

    on_two_machines(tmp_path, steps)


def test_a_copy_to_another_volume_starts_anew(tmp_path: Path) -> None:
    async def steps(one: Machine, other: Machine) -> None:
        await fill(one, piece("s", 64 * MIB))
        await receive(other, piece("s", 64 * MIB))
        await one.agent.syncs.ensure("v", sync((other.portal,)))
        assert await ended(one) is SyncState.DONE
        one.kernel.log.clear()
        await one.agent.syncs.ensure("v", sync((other.portal,), generation=4))
        assert await ended(one) is SyncState.DONE
        assert len(chunks(one)) == 64

    on_two_machines(tmp_path, steps)


def test_a_stopped_copy_writes_nothing_more(tmp_path: Path) -> None:
    async def steps(one: Machine, other: Machine) -> None:
        await begun(one, other)
        await one.agent.syncs.remove("v", 3)
        assert one.kernel.controllers == {}
        before = len(chunks(one))
        assert before < 64
        await asyncio.sleep(0.02)
        assert len(chunks(one)) == before

    on_two_machines(tmp_path, steps)


def test_a_copy_fails_when_its_destination_is_lost(tmp_path: Path) -> None:
    async def steps(one: Machine, other: Machine) -> None:
        await begun(one, other)
        other.kernel.lose("v-filled")
        assert await ended(one) is SyncState.FAILED

    on_two_machines(tmp_path, steps)


def test_a_connection_of_an_earlier_process_is_closed(tmp_path: Path) -> None:
    async def steps(one: Machine, other: Machine) -> None:
        await begun(one, other)

        def on_call(words: tuple[str, ...]) -> None:
            if words[0] == "nvme":
                raise OSError(4, "the process died first")

        one.kernel.on_call = on_call
        one.kill()
        await asyncio.sleep(0.01)
        assert len(one.kernel.controllers) == 1
        await one.boot()
        assert one.kernel.controllers == {}

    on_two_machines(tmp_path, steps)


def test_an_ssd_that_failed_is_not_tried_again_while_a_copy_is_needed(tmp_path: Path) -> None:
    """The next attempt would stop the copy, or its result would be lost."""

    async def steps(one: Machine, other: Machine) -> None:
        await begun(one, other)
        one.engine._stores.retries = Retries(0.0, 0.0)
        one.engine._stores.retries.fail("t")
        watching = asyncio.create_task(one.engine.lost())
        assert await ended(one) is SyncState.DONE
        await asyncio.sleep(10 * LOOKS * WATCH)
        assert not watching.done()
        await one.agent.syncs.remove("v", (await one.agent.syncs.read("v")).generation)
        async with asyncio.timeout(30):
            await watching

    on_two_machines(tmp_path, steps)
