"""A host with KIOXIA's agent of release 3.22. It makes exactly the same calls in the same order."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable

from inventory.simulated_hosts.agent import Behaviour, host_identity
from inventory.simulated_hosts.connection import Endpoint, NoAnswer
from inventory.simulated_hosts.kernel import Kernel
from inventory.simulated_hosts.node_availability import Nodes
from inventory.simulated_hosts.released_calls import Calls
from inventory.simulated_hosts.released_tasks import Tasks
from inventory.simulated_hosts.released_volumes import Volumes

log = logging.getLogger(__name__)


class ReleasedAgent:
    """Handles its tasks every ``poll_seconds``. Every ``probe_seconds`` it sends a probe and checks
    its volumes. A call without an answer ends the round.
    """

    def __init__(self, name: str, behaviour: Behaviour, endpoint: Endpoint, nodes: Nodes) -> None:
        self.name = name
        self.uuid, self.nqn = host_identity(name)
        self._behaviour = behaviour
        self._calls = Calls(endpoint, self.uuid, self.nqn, name)
        self._kernel = Kernel(endpoint, nodes, self.uuid, behaviour.bytes_per_second)
        self._volumes = Volumes(self._calls, self._kernel)
        self._tasks = Tasks(self._calls, self._kernel, self._volumes)
        self._monitor_at = 0.0

    async def run(self, delay: float = 0) -> None:
        """Start after ``delay`` seconds, and run until cancelled."""
        await asyncio.sleep(delay)
        try:
            await self._round(self._calls.info)
            while True:
                began = _now()
                if began >= self._monitor_at:
                    self._monitor_at = began + self._behaviour.probe_seconds
                    await self._round(self._monitor)
                await self._round(self._work)
                await asyncio.sleep(began + self._behaviour.poll_seconds - _now())
        finally:
            self._calls.close()
            self._kernel.close()

    async def _round(self, act: Callable[[], Awaitable[None]]) -> None:
        try:
            await act()
        except NoAnswer as error:
            log.warning("host %s: %s", self.name, error)
        except Exception:
            log.exception("host %s: its agent failed and continues", self.name)

    async def _monitor(self) -> None:
        await self._calls.targets(of_host=True)
        probed = await self._calls.probe(math.ceil(self._behaviour.probe_seconds))
        if not probed.done:
            log.error("host %s: its probe is refused: %s", self.name, probed.description)
        await self._kernel.look(_now())
        for array in list(self._kernel.arrays.values()):
            await self._volumes.check_array(array, _now())

    async def _work(self) -> None:
        if self._tasks.are_running:
            await self._kernel.look(_now())
        await self._tasks.work(_now())


def _now() -> float:
    return asyncio.get_running_loop().time()
