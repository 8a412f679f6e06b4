"""The fake target in the process of the test. It can be started, killed and inspected."""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from inventory.nodes.engines.simulated.event_loop import LoopThread
from tests.spdk.target import Target

_numbers = itertools.count(1)


class NearTarget:
    """A fake target in the event loop of its user, which must not block. ``target``: the running
    instance. The socket has its own folder, because paths of Unix sockets must be short.
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
        """Kill the target as with SIGKILL, and start it. Connections are reset, the socket file
        stays, and everything that is not on a drive is lost.
        """
        self.target.close()
        await self.start()

    async def reborn(self) -> None:
        """Wait until the instance after a death answers."""
        if self._rebirth is not None:
            await self._rebirth

    def die_after(self, calls: int | None) -> None:
        """Die instead of answering the last of these calls, and start again at once."""
        self.target.dies_after = calls

    def close(self) -> None:
        self.target.close()
        shutil.rmtree(self.folder)

    def _die(self) -> None:
        self.target.close()
        self._rebirth = asyncio.ensure_future(self.start())


class RunningTarget:
    """A fake target in its own thread. Only the thread's loop may change ``target``."""

    def __init__(self, *, poll: float = 0) -> None:
        self._near = NearTarget(poll=poll)
        self._loop = LoopThread(f"spdk-{next(_numbers)}")
        self.socket = self._near.socket
        self.start()

    @property
    def target(self) -> Target:
        return self._near.target

    def run(self, function: Callable[[Target], None]) -> None:
        """Call the function in the target's thread."""
        self._loop.call(lambda: function(self.target))

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
        """Wait until the instance after a death answers; return the number of instances so far."""
        self._loop.run(self._near.reborn())
        return self._near.lives

    def delay(self, method: str, seconds: float) -> None:
        """Delay the method until the next restart."""
        self.target.server.delays[method] = seconds

    def pace(self, seconds: float) -> None:
        """Set the seconds per copied cluster, until the next restart."""
        self.target.copies.pace = seconds

    def hold(self, clusters: int | None) -> None:
        """Stop copies after so many clusters, until None is given or the target restarts."""
        self.target.copies.held_at = clusters

    def clear_for(self, seconds: float) -> None:
        """Set the seconds for each deletion of an lvol, until the next restart."""
        self.target.lvols.clearing = seconds
