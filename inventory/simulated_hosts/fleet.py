"""Many simulated hosts in one process."""

import asyncio
from collections.abc import Sequence

from inventory.simulated_hosts.agent import Behaviour, HostAgent
from inventory.simulated_hosts.connection import Endpoint
from inventory.simulated_hosts.node_availability import Nodes
from inventory.simulated_hosts.released_agent import ReleasedAgent

FIRST_PROBES_PER_SECOND = 200


class SimulatedHosts:
    """The hosts with these names. Each has its own connection, as if it were on its own server.

    ``tokens``: one for each host, in the order of the names; without tokens, all hosts use the
    credentials of ``endpoint``. ``released``: the hosts make exactly the calls of KIOXIA's agent of
    release 3.22.
    """

    def __init__(
        self,
        names: Sequence[str],
        behaviour: Behaviour,
        endpoint: Endpoint,
        tokens: Sequence[str] = (),
        *,
        released: bool = False,
    ) -> None:
        endpoints = [endpoint.with_token(token) for token in tokens] or [endpoint] * len(names)
        self._nodes = Nodes(endpoints[0], behaviour.poll_seconds)
        agent = ReleasedAgent if released else HostAgent
        self.agents = tuple(
            agent(name, behaviour, own, self._nodes)
            for name, own in zip(names, endpoints, strict=True)
        )

    async def run(self) -> None:
        """Run until cancelled. The hosts start one after the other."""
        try:
            async with asyncio.TaskGroup() as group:
                for number, agent in enumerate(self.agents):
                    group.create_task(agent.run(number / FIRST_PROBES_PER_SECOND))
        finally:
            self._nodes.close()
