"""The kernel of this machine. Commands, file operations and copies run in separate processes."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from inventory.nodes.engines.linux.kernel import COMMAND_SECONDS, CommandFailed, Output, Stuck

FILE_SECONDS = 20.0
FOLDER = Path(__file__).parent
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}

T = TypeVar("T")


class RealKernel:
    """The kernel of this machine. ``file_seconds``: the time limit of a file operation. Use it in
    one event loop only.
    """

    def __init__(self, *, file_seconds: float = FILE_SECONDS) -> None:
        self._file_seconds = file_seconds
        self._worker: asyncio.subprocess.Process | None = None
        self._ending: set[asyncio.Task[Any]] = set()
        self._lock = asyncio.Lock()

    async def run(self, *command: str, text: str = "", seconds: float = COMMAND_SECONDS) -> Output:
        starting = self._keep(_start(command))

        async def whole() -> Output:
            process = await starting
            out, err = await process.communicate(text.encode())
            return Output(process.returncode or 0, out.decode(), err.decode())

        running = self._keep(whole())
        done, _ = await asyncio.wait({running}, timeout=seconds)
        if not done:
            starting.add_done_callback(_end)
            raise Stuck(f"{' '.join(command[:2])} did not end within {seconds:.0f} s")
        try:
            return running.result()
        except FileNotFoundError as error:
            raise CommandFailed(command, 127, f"{error.filename} is not installed") from error

    async def read(self, path: str) -> str:
        text: str = await self._file("read", path)
        return text.strip()

    async def write(self, path: str, text: str) -> None:
        await self._file("write", path, text)

    async def make(self, path: str) -> None:
        await self._file("make", path)

    async def remove(self, path: str) -> None:
        await self._file("remove", path)

    async def link(self, to: str, path: str) -> None:
        await self._file("link", to, path)

    async def unlink(self, path: str) -> None:
        await self._file("unlink", path)

    async def names(self, path: str) -> list[str]:
        found: list[str] = await self._file("names", path)
        return sorted(found)

    async def exists(self, path: str) -> bool:
        found: bool = await self._file("exists", path)
        return found

    async def copy(
        self, source: str, to: str, *, start: int, end: int, note: Callable[[int], None]
    ) -> None:
        command = (sys.executable, "-I", str(FOLDER / "copier.py"))
        process = await _start((*command, source, to, str(start), str(end)))
        try:
            assert process.stdout is not None
            async for line in process.stdout:
                note(int(line))
            _, err = await process.communicate()
        except asyncio.CancelledError:
            self._kill(process)
            await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=FILE_SECONDS)
            raise
        if process.returncode:
            raise CommandFailed(("copy",), process.returncode, err.decode().strip())

    async def _file(self, *request: str) -> Any:
        what = " ".join(request[:2])
        async with self._lock:
            worker = await self._open_worker()
            assert worker.stdin is not None
            assert worker.stdout is not None
            try:
                worker.stdin.write(json.dumps(request).encode() + b"\n")
                async with asyncio.timeout(self._file_seconds):
                    line = await worker.stdout.readline()
            except TimeoutError:
                self._drop_worker()
                raise Stuck(f"{what} did not end within {self._file_seconds:.0f} s") from None
            except asyncio.CancelledError:
                self._drop_worker()
                raise
            if not line:
                self._drop_worker()
                raise Stuck(f"{what}: the process for files ended")
        reply = json.loads(line)
        if "errno" in reply:
            raise OSError(reply["errno"], os.strerror(reply["errno"]), reply["path"])
        return reply["result"]

    async def _open_worker(self) -> asyncio.subprocess.Process:
        if self._worker is None or self._worker.returncode is not None:
            command = (sys.executable, "-I", str(FOLDER / "file_worker.py"))
            self._worker = await _start(command)
        return self._worker

    def _drop_worker(self) -> None:
        """Start another worker with the next call, because this one may answer late or never."""
        if self._worker is not None:
            self._kill(self._worker)
        self._worker = None

    def close(self) -> None:
        self._drop_worker()

    def _kill(self, process: asyncio.subprocess.Process) -> None:
        """Kill the process with its children. This does not wait for its end, because it may
        hang.
        """
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        self._keep(process.wait())

    def _keep(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start the work, and keep it until it is done, even if the caller stops waiting."""
        task = asyncio.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task


async def _start(command: tuple[str, ...]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=ENVIRONMENT,
        start_new_session=True,
        limit=2**24,
    )


def _end(starting: asyncio.Task[asyncio.subprocess.Process]) -> None:
    """Ask the process to end as soon as it has started."""
    with suppress(ProcessLookupError, OSError, asyncio.CancelledError):
        starting.result().terminate()
