"""The fake target inside the test's process: started, killed and looked into."""

import asyncio
import itertools
import shutil
import tempfile
from pathlib import Path

from inventory.nodes.engines.simulated.event_loop import LoopThread
from tests.spdk.target import Target

_numbers = itertools.count(1)


class NearTarget:
    """In the event loop of who uses it, which must not wait in any other way. ``target`` is its
    present life.

    Paths of Unix sockets must be short, so the socket has a folder of its own.
    """

    target: Target

    def __init__(self, *, poll: float = 0) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="spdk"))
        self.socket = self.folder / "s"
        self.lives = 0
        self._poll = poll
        self._rebirth: asyncio.Task[None] | None = None

    async def start(self, init_seconds: float = 0) -> None:
        self.target = Target(self.socket, self._die, poll=self._poll)
        self.lives += 1
        await self.target.open(init_seconds)

    async def restart(self) -> None:
        """Killed before, as by SIGKILL: connections are reset, the socket file stays, what is no
        drive's is lost.
        """
        self.target.close()
        await self.start()

    async def reborn(self) -> None:
        """The life that follows a death answers."""
        if self._rebirth is not None:
            await self._rebirth

    def die_after(self, calls: int | None) -> None:
        """Be killed instead of answering the last of these calls, and start again at once."""
        self.target.dies_after = calls

    def close(self) -> None:
        self.target.close()
        shutil.rmtree(self.folder)

    def _die(self) -> None:
        self.target.close()
        self._rebirth = asyncio.ensure_future(self.start())


class RunningTarget:
    """In a thread of its own, whose loop alone may change ``target``."""

    def __init__(self, *, poll: float = 0) -> None:
        self._near = NearTarget(poll=poll)
        self._loop = LoopThread(f"spdk-{next(_numbers)}")
        self.socket = self._near.socket
        self.start()

    @property
    def target(self) -> Target:
        return self._near.target

    def start(self, *, init_seconds: float = 0) -> None:
        self._loop.run(self._near.start(init_seconds))

    def kill(self) -> None:
        self._loop.call(self.target.close)

    def restart(self) -> None:
        self._loop.run(self._near.restart())

    def close(self) -> None:
        self._loop.call(self._near.close)
        self._loop.stop()

    def die_after(self, calls: int | None) -> None:
        self._near.die_after(calls)

    def settle(self) -> int:
        """How many lives there were, when the one that follows a death answers."""
        self._loop.run(self._near.reborn())
        return self._near.lives

    def delay(self, method: str, seconds: float) -> None:
        """Until the next life."""
        self.target.server.delays[method] = seconds

    def pace(self, seconds: float) -> None:
        """Of each cluster that is copied, until the next life."""
        self.target.copies.pace = seconds

    def hold(self, clusters: int | None) -> None:
        """Copies stand still after so many, until None is told or the next life."""
        self.target.copies.held_at = clusters

    def clear_for(self, seconds: float) -> None:
        """So long takes each removal of an lvol, until the next life."""
        self.target.lvols.clearing = seconds
