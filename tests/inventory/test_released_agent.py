"""A host with KIOXIA's agent of release 3.22 against the live API: its calls in their order, and
the effect on its volumes.
"""

import asyncio
import re
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from inventory.nodes.engines.simulated.event_loop import LoopThread
from inventory.simulated_hosts import Behaviour, Endpoint, SimulatedHosts, host_uuid
from inventory.simulated_hosts.released_calls import ReleasedEndpoint
from tests.api.migration_steps import migrate
from tests.api.released_clients import ANYWHERE, ReleasedClient
from tests.api.replicas_steps import places, replicated
from tests.api.volume_steps import GIB, published, volume
from tests.conftest import Api
from tests.inventory.simulated_hosts_steps import (
    SECONDS,
    be_silent,
    come_to,
    ended,
    let_time_pass,
    task_of,
)
from tests.recorder import Recorder, Request, parsed
from tests.waiting import eventually
from volumes.audit import audit

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
FAST, SLOW = 1000 * GIB, 5 * GIB
KERNELS = re.compile(r"GET (/volumes\?hostID=.*|/backends)$")
"""Calls that the simulation makes in place of the host's kernel."""
ROUTINE = re.compile(
    r"(GET (/info|/tasks.*|/volumes/.*|/targets\?volId=[^&]*|/targets\?hostId=[^&]*)"
    r"|POST /host_probe)$"
)


class Agents:
    """Runs agents whose calls are recorded."""

    def __init__(self, api: Api, recorder: Recorder) -> None:
        self._api = api
        self.recorder = recorder
        self._loop = LoopThread("released-agents")
        self._running: list[asyncio.Task[None]] = []

    def start(self, *, speed: float = FAST, probe_seconds: float = 0.3) -> str:
        """Start an agent. Returns the uuid of its host after its first probe."""
        behaviour = Behaviour(
            poll_seconds=0.05, probe_seconds=probe_seconds, bytes_per_second=speed
        )
        caller = self._api.as_role("HOST", host=host_uuid("a")).authorization
        endpoint = Endpoint.of(self.recorder.url, ssl.create_default_context(), caller)
        hosts = SimulatedHosts(["a"], behaviour, endpoint, released=True)
        self._loop.run(self._begin(hosts))
        [agent] = hosts.agents
        eventually(self._probed, seconds=SECONDS, what="it probes")
        return agent.uuid

    def kill(self) -> None:
        """Stop the agent, which loses its memory."""
        self._loop.run(self._cancel())

    def stop(self) -> None:
        self._loop.stop()

    def changes(self) -> list[tuple[str, object]]:
        """Return the recorded calls, without those that a healthy host makes in each round."""
        return [
            (r.call, r.body)
            for r in self.recorder.requests
            if not (KERNELS.match(r.call) or ROUTINE.match(r.call))
        ]

    def _probed(self) -> bool:
        return "POST /host_probe" in {r.call for r in self.recorder.requests}

    async def _begin(self, hosts: SimulatedHosts) -> None:
        self._running.append(asyncio.create_task(hosts.run()))

    async def _cancel(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()


@pytest.fixture
def agents(api: Api) -> Iterator[Agents]:
    with Recorder(api.url) as recorder:
        running = Agents(api, recorder)
        yield running
        running.stop()


def attached(api: Api, agents: Agents, host: str, number: int = 2, **storage: Any) -> str:
    uuid = replicated(api, "vol", number, **storage)
    published(api, uuid, host)
    come_to(api, uuid, *["Available"] * number)
    agents.recorder.forget()
    return uuid


def node_of(api: Api, uuid: str, replica: str) -> str:
    return str(places(api, uuid)[replica]["backend"]["persistentID"])


def plain(request: Request) -> set[str]:
    """The headers, without the version of the HTTP library."""
    return {re.sub(r"(python-urllib3)/.*", r"\1", header) for header in request.headers}


def test_the_requests_equal_those_of_the_released_client(api: Api) -> None:
    """They are equal byte for byte, except for the version of the HTTP library."""
    cases = [
        ("GET", "tasks?hostId=h", None),
        ("POST", "replica/v", ANYWHERE),
        ("PATCH", "replica/v/r/Available", None),
        ("DELETE", "replica/v/r", None),
        ("PUT", "tasks", {"taskId": "t", "progress": 1.5, "taskConfiguration": [{"name": "a"}]}),
    ]
    with Recorder(api.url) as recorder:
        client = ReleasedClient(recorder.url, "Bearer t")
        for case in cases:
            client.call(*case)
        sent = recorder.requests
        endpoint = Endpoint.of(recorder.url, ssl.create_default_context(), "Bearer t")
    for case, real in zip(cases, sent, strict=True):
        method, path, body = case
        ours = parsed(ReleasedEndpoint.like(endpoint).request(method, f"/{path}", body))
        assert (ours.line, ours.content) == (real.line, real.content)
        assert plain(ours) == plain(real)


def test_a_healthy_host_sends_the_released_round_of_calls(
    api: Api, pool: Pool, agents: Agents
) -> None:
    pool(2)
    host = agents.start()
    uuid = attached(api, agents, host)
    eventually(lambda: len(agents.recorder.requests) > 40, seconds=SECONDS, what="it goes on")
    calls = [r.call for r in agents.recorder.requests if not KERNELS.match(r.call)]
    start = calls.index("POST /host_probe", 5)
    assert calls[start - 1] == f"GET /targets?hostId={host}"
    assert calls[start + 1 : start + 4] == [
        f"GET /volumes/{uuid}",
        f"GET /targets?volId={uuid}",
        f"GET /tasks?hostId={host}",
    ]
    assert agents.changes() == []
    [probe] = {r.content for r in agents.recorder.requests if r.call == "POST /host_probe"}
    [known] = api.get("/hosts").body
    assert (known["clientType"], known["version"], known["hasAgent"]) == (
        "Openstack",
        "3.22.170",
        True,
    )
    assert probe.startswith(b'{\n    "clientType": "Openstack",\n    "duration": 1,\n    "hostId"')


def test_the_released_agent_migrates_a_replica(api: Api, pool: Pool, agents: Agents) -> None:
    pool(3)
    host = agents.start(speed=SLOW)
    uuid = attached(api, agents, host)
    outgoing, staying = places(api, uuid)
    task_id = migrate(api, uuid, outgoing).body["taskId"]
    done = ended(api, task_id)
    assert (done["state"], done["progress"], done["taskStatus"]) == ("FINISHED", 100, "Success")
    [new] = set(places(api, uuid)) - {staying}
    come_to(api, uuid, "Available", "Available")
    calls = [call for call, _ in agents.changes()]
    progress = [body for call, body in agents.changes() if call == "PUT /tasks"]
    known = {f"GET /backends/{node_of(api, uuid, replica)}" for replica in (new, staying)}
    begun, ended_at = calls.index("PUT /tasks"), calls.index(f"DELETE /replica/{uuid}/{outgoing}")
    assert known < set(calls[:begun])
    assert [call for call in calls[:begun] if not call.startswith("GET /backends/")] == [
        f"POST /replica/{uuid}",
        f"GET /targets?hostId={host}&volId={uuid}",
        "POST /publish",
        "POST /forward_log",
        f"PATCH /replica/{uuid}/{new}/Synchronizing",
    ]
    assert calls[ended_at - 2 : ended_at + 2] == [
        f"PATCH /replica/{uuid}/{outgoing}/Available",
        f"PATCH /replica/{uuid}/{outgoing}",
        f"DELETE /replica/{uuid}/{outgoing}",
        "PUT /tasks",
    ]
    assert [body for call, body in agents.changes() if call.startswith("POST /replica")] == [
        ANYWHERE
    ]
    first, *_, last = progress
    tags = [
        {"name": "volId", "value": uuid},
        {"name": "replicaId", "value": outgoing},
        {"name": "volumeAlias", "value": "vol"},
        {"name": "addedReplicaId", "value": outgoing},
    ]
    assert first == {
        "hostId": host,
        "progress": 0,
        "state": "RUNNING",
        "statusDescription": "N/A",
        "taskConfiguration": tags,
        "taskId": task_id,
        "taskStatus": "Success",
    }
    ending = {"progress": 100, "state": "FINISHED", "statusDescription": "Success"}
    assert last == first | ending
    assert audit() == []


def test_the_released_agent_resynchronizes_when_a_node_returns(
    api: Api, pool: Pool, agents: Agents
) -> None:
    pool(2)
    host = agents.start()
    uuid = attached(api, agents, host)
    lost, _ = places(api, uuid)
    node = node_of(api, uuid, lost)
    be_silent(node, minutes=1)
    come_to(api, uuid, "Available", "Missing")
    be_silent(node, minutes=-1)
    come_to(api, uuid, "Available", "Available")
    assert ("POST /publish", {"hostId": host, "volId": uuid}) in agents.changes()
    assert set(places(api, uuid)) >= {lost}
    assert audit() == []


def test_the_released_agent_replaces_a_missing_replica(
    api: Api, pool: Pool, agents: Agents
) -> None:
    pool(3)
    host = agents.start()
    uuid = attached(api, agents, host, maxReplicaDownTime=1)
    lost, kept = places(api, uuid)
    be_silent(node_of(api, uuid, lost), minutes=1)
    come_to(api, uuid, "Available", "Missing")
    let_time_pass(lost)
    eventually(lambda: lost not in places(api, uuid), seconds=SECONDS, what="it is replaced")
    come_to(api, uuid, "Available", "Available")
    assert kept in places(api, uuid)


def test_the_released_agent_replaces_replicas_of_a_node_removed_by_force(
    api: Api, pool: Pool, agents: Agents
) -> None:
    pool(3)
    host = agents.start()
    uuid = attached(api, agents, host, maxReplicaDownTime=1)
    lost, _ = places(api, uuid)
    node = node_of(api, uuid, lost)
    be_silent(node, minutes=1)
    come_to(api, uuid, "Available", "Missing")
    assert api.delete(f"/backends/{node}", force="true").status == "Success"
    assert places(api, uuid)[lost]["backend"] == {"persistentID": ""}
    let_time_pass(lost)
    eventually(lambda: lost not in places(api, uuid), seconds=SECONDS, what="it is replaced")
    come_to(api, uuid, "Available", "Available")
    assert volume(api, uuid)["numReplicas"] == 2


def test_a_restarted_released_agent_ends_its_migration(
    api: Api, pool: Pool, agents: Agents
) -> None:
    pool(3)
    host = agents.start(speed=GIB)
    uuid = attached(api, agents, host)
    outgoing, staying = places(api, uuid)
    task_id = migrate(api, uuid, outgoing).body["taskId"]
    eventually(lambda: task_of(api, task_id)["progress"] > 5, seconds=SECONDS, what="progress")
    agents.kill()
    assert task_of(api, task_id)["state"] == "RUNNING"
    agents.recorder.forget()
    agents.start(speed=FAST)
    done = ended(api, task_id)
    assert (done["state"], done["taskStatus"]) == ("FINISHED", "Success")
    assert outgoing not in places(api, uuid)
    assert staying in places(api, uuid)
    come_to(api, uuid, "Available", "Available")
    assert audit() == []
