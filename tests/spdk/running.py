"""The fake target inside the test's process: started, killed and looked into."""

import asyncio
import itertools
import shutil
import tempfile
from pathlib import Path

from inventory.nodes.engines.simulated.loop import LoopThread
from tests.spdk.target import Target

_numbers = itertools.count(1)


class RunningTarget:
    """In a thread of its own. ``target`` is its present life, which only its loop may change.

    Paths of Unix sockets must be short, so the socket has a folder of its own.
    """

    def __init__(self, *, poll: float = 0) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="spdk"))
        self._poll = poll
        self._loop = LoopThread(f"spdk-{next(_numbers)}")
        self.socket = self._folder / "s"
        self.lives = 0
        self._rebirth: asyncio.Task[None] | None = None
        self.start()

    def start(self, *, init_seconds: float = 0) -> None:
        self._loop.run(self._open(init_seconds))

    def kill(self) -> None:
        """SIGKILL: connections are reset, the socket file stays, what is no drive's is lost."""
        self._loop.call(self.target.close)

    def restart(self) -> None:
        self.kill()
        self.start()

    def close(self) -> None:
        self.kill()
        self._loop.stop()
        shutil.rmtree(self._folder)

    def die_after(self, calls: int | None) -> None:
        """Be killed instead of answering the last of these calls, and start again at once."""
        self.target.dies_after = calls

    def settle(self) -> int:
        """How many lives there were, when the one that follows a death answers."""
        self._loop.run(self._reborn())
        return self.lives

    def delay(self, method: str, seconds: float) -> None:
        """Until the next life."""
        self.target.server.delays[method] = seconds

    def pace(self, seconds: float) -> None:
        """Of each cluster that is copied, until the next life."""
        self.target.copies.pace = seconds

    def clear_for(self, seconds: float) -> None:
        """So long takes each removal of an lvol, until the next life."""
        self.target.lvols.clearing = seconds

    async def _open(self, init_seconds: float) -> None:
        self.target = Target(self.socket, self._die, poll=self._poll)
        self.lives += 1
        await self.target.open(init_seconds)

    async def _reborn(self) -> None:
        if self._rebirth is not None:
            await self._rebirth

    def _die(self) -> None:
        self.target.close()
        self._rebirth = asyncio.ensure_future(self._open(0))
