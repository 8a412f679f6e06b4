"""Commands, files and copies of the real kernel of this machine, without its drives."""

import asyncio
import errno
import os
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from inventory.nodes.engines.linux import copier
from inventory.nodes.engines.linux.connected import established
from inventory.nodes.engines.linux.kernel import CommandFailed, Stuck
from inventory.nodes.engines.linux.real_kernel import RealKernel
from inventory.nodes.wire import Portal
from tests.servers import free_port

MIB = 2**20


def run(steps: Coroutine[Any, Any, None]) -> None:
    """Run the steps, and wait until the processes that they killed have ended."""

    async def main() -> None:
        await steps
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
        await asyncio.sleep(0)

    asyncio.run(main())


def test_commands_are_never_given_to_a_shell() -> None:
    async def steps() -> None:
        kernel = RealKernel()
        output = await kernel.run("echo", "$(true); `true` *")
        assert (output.code, output.out) == (0, "$(true); `true` *\n")
        assert (await kernel.run("cat", text="in")).out == "in"
        assert (await kernel.run("cat", "/nowhere")).code == 1
        with pytest.raises(CommandFailed, match="no-such-command is not installed"):
            await kernel.run("no-such-command")

    run(steps())


def test_a_command_that_does_not_end_is_killed() -> None:
    async def steps() -> None:
        with pytest.raises(Stuck, match="sleep 1000 did not end"):
            await RealKernel().run("sleep", "1000", seconds=0.01)

    run(steps())


def test_a_command_goes_on_when_its_caller_is_cancelled(tmp_path: Path) -> None:
    """If a command of LVM is killed, a device may stay suspended."""
    pipe, file = tmp_path / "pipe", tmp_path / "file"
    os.mkfifo(pipe)

    async def steps() -> None:
        kernel = RealKernel()
        call = asyncio.create_task(kernel.run("cp", str(pipe), str(file)))
        with await asyncio.to_thread(pipe.open, "w") as writing:  # when the command reads
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            assert call.cancelled()
            writing.write("done")
        while not file.exists() or file.stat().st_size < len("done"):
            await asyncio.sleep(0.001)
        kernel.close()

    run(steps())
    assert file.read_text() == "done"


def test_files_are_read_and_written(tmp_path: Path) -> None:
    async def steps() -> None:
        kernel = RealKernel()
        folder, file = str(tmp_path / "f"), tmp_path / "f" / "enable"
        await kernel.make(folder)
        with pytest.raises(FileNotFoundError):
            await kernel.write(str(file), "1")
        file.write_text("long before\n")
        assert await kernel.read(str(file)) == "long before"
        await kernel.link(str(file), f"{folder}/link")
        assert await kernel.names(folder) == ["enable", "link"]
        for action, number in (
            (kernel.make(folder), errno.EEXIST),
            (kernel.remove(folder), errno.ENOTEMPTY),
            (kernel.names(f"{folder}/none"), errno.ENOENT),
        ):
            with pytest.raises(OSError, match=folder) as caught:
                await action
            assert caught.value.errno == number
        await kernel.unlink(f"{folder}/link")
        file.unlink()
        await kernel.remove(folder)
        assert not await kernel.exists(folder)
        kernel.close()

    run(steps())


def test_a_file_that_hangs_does_not_stop_others(tmp_path: Path) -> None:
    pipe, file = tmp_path / "pipe", tmp_path / "file"
    os.mkfifo(pipe)
    file.write_text("x")

    async def steps() -> None:
        kernel = RealKernel(file_seconds=1)
        with pytest.raises(Stuck, match="pipe did not end"):
            await kernel.read(str(pipe))
        kernel = RealKernel()
        assert await kernel.read(str(file)) == "x"
        kernel.close()

    run(steps())


def drive(path: Path, *content: tuple[int, bytes], size: int = 100 * MIB) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
        for offset, data in content:
            file.seek(offset)
            file.write(data)
    return path


def test_a_copy_writes_what_is_not_zero(tmp_path: Path) -> None:
    source = drive(tmp_path / "source", (3 * MIB + 5, b"x" * 10), (99 * MIB, b"y" * MIB))
    to = drive(tmp_path / "to")
    noted: list[int] = []

    async def steps() -> None:
        await RealKernel().copy(str(source), str(to), start=0, end=100 * MIB, note=noted.append)

    run(steps())
    assert to.read_bytes() == source.read_bytes()
    assert noted == [64 * MIB, 100 * MIB]
    assert to.stat().st_blocks * 512 < 4 * MIB, "zeros were not written"


def test_a_copy_starts_and_ends_where_it_should(tmp_path: Path) -> None:
    source = drive(tmp_path / "source", (0, b"x" * 4 * MIB), size=4 * MIB)
    to = drive(tmp_path / "to", size=4 * MIB)

    async def steps() -> None:
        await RealKernel().copy(
            str(source), str(to), start=MIB, end=2 * MIB + 4096, note=lambda offset: None
        )

    run(steps())
    expected = bytes(MIB) + b"x" * (MIB + 4096) + bytes(2 * MIB - 4096)
    assert to.read_bytes() == expected


def test_a_copy_that_fails_says_why(tmp_path: Path) -> None:
    source = drive(tmp_path / "source", (0, b"x"), size=MIB)

    async def steps() -> None:
        copy = RealKernel().copy
        with pytest.raises(CommandFailed, match="No such file"):
            await copy(str(source), "/nowhere", start=0, end=MIB, note=lambda offset: None)
        with pytest.raises(CommandFailed, match="0 bytes of 1048576 at 2097152 were read"):
            await copy(
                str(source), str(source), start=2 * MIB, end=3 * MIB, note=lambda offset: None
            )

    run(steps())


def test_a_chunk_that_reads_differently_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drive loses writes without an error."""
    source = drive(tmp_path / "source", (0, b"x"), size=MIB)
    to = drive(tmp_path / "to", size=MIB)
    monkeypatch.setattr(os, "pwritev", lambda descriptor, buffers, offset: len(buffers[0]))
    with pytest.raises(SystemExit, match="reads differently at byte 0"):
        copier.main(str(source), str(to), 0, MIB)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_connections_to_a_portal_are_seen(address: str) -> None:
    async def steps() -> None:
        kernel, port = RealKernel(), free_port()
        portals = [Portal(ip=address, port=port)]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.create_server((address, port), family=family):
            assert not await established(kernel, portals)
            with socket.create_connection((address, port)):
                assert await established(kernel, portals)
                assert not await established(kernel, [Portal(ip=address, port=1)])
        kernel.close()

    run(steps())
