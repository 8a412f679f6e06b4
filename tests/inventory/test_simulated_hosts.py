"""Simulated hosts against the live API: their reports, repairs and migrations."""

import asyncio
import ssl
from collections.abc import Callable, Iterator

import pytest

from inventory.nodes.engines.simulated.event_loop import LoopThread
from inventory.simulated_hosts import Behaviour, Endpoint, SimulatedHosts, host_uuid
from tests.api.migration_steps import migrate
from tests.api.replicas_steps import places
from tests.api.volume_steps import GIB, published, volume
from tests.conftest import Api
from tests.inventory.simulated_hosts_steps import (
    SECONDS,
    attached,
    be_silent,
    come_to,
    ended,
    let_time_pass,
    states,
    task_of,
)
from tests.waiting import eventually
from volumes.audit import audit

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
FAST, SLOW = 100 * GIB, 10 * GIB


class Hosts:
    """Runs simulated hosts, and shows their state in the API."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._loop = LoopThread("simulated-hosts")
        self._running: list[asyncio.Task[None]] = []

    def start(self, *names: str, speed: float = FAST, only_reports: bool = False) -> list[str]:
        """Start hosts. Returns their uuids after their first probes."""
        behaviour = Behaviour(
            only_reports=only_reports, poll_seconds=0.05, look_seconds=0.1, bytes_per_second=speed
        )
        endpoint = Endpoint.of(self._api.url, ssl.create_default_context())
        callers = [self._api.as_role("HOST", host=host_uuid(name)) for name in names]
        tokens = [caller.authorization.removeprefix("Bearer ") for caller in callers]
        hosts = SimulatedHosts(names, behaviour, endpoint, tokens)
        self._loop.run(self._begin(hosts))
        uuids = [agent.uuid for agent in hosts.agents]
        eventually(lambda: self._known() >= set(uuids), seconds=SECONDS, what="they probe")
        return uuids

    def stop(self) -> None:
        self._loop.stop()

    async def _begin(self, hosts: SimulatedHosts) -> None:
        self._running.append(asyncio.create_task(hosts.run()))

    def _known(self) -> set[str]:
        return {host["uuid"] for host in self._api.get("/hosts").body}


@pytest.fixture
def hosts(api: Api) -> Iterator[Hosts]:
    running = Hosts(api)
    yield running
    running.stop()


def test_a_host_probes_and_attaches_its_volumes(api: Api, pool: Pool, hosts: Hosts) -> None:
    pool(3)
    [host] = hosts.start("a")
    uuid = attached(api, host, 3)
    [shown] = api.get("/hosts").body
    assert (shown["name"], shown["clientType"], shown["version"]) == ("a", "Agent", "3.22")
    assert (shown["state"], shown["duration"]) == ("Available", 30)
    assert shown["nqn"] == f"nqn.2014-08.org.nvmexpress:uuid:{host}"
    assert volume(api, uuid)["inUse"] is True


def test_a_host_migrates_with_progress_that_never_falls(api: Api, pool: Pool, hosts: Hosts) -> None:
    pool(4)
    [host] = hosts.start("a", speed=SLOW)
    uuid = attached(api, host)
    used = {p["backend"]["persistentID"] for p in places(api, uuid).values()}
    wanted = max({b["persistentID"] for b in api.get("/backends").body} - used)
    outgoing, staying = places(api, uuid)
    task_id = migrate(api, uuid, outgoing, destinationBackendId=wanted).body["taskId"]
    seen: list[float] = []
    while task_of(api, task_id)["state"] in {"IDLE", "RUNNING"}:
        seen.append(task_of(api, task_id)["progress"])
    done = task_of(api, task_id)
    assert (done["state"], done["progress"], done["taskStatus"]) == ("FINISHED", 100, "Success")
    assert seen == sorted(seen)
    assert len({progress for progress in seen if 0 < progress < 100}) > 1
    now = places(api, uuid)
    assert len(now) == 2
    assert outgoing not in now
    [new] = now.keys() - {staying}
    assert now[new]["backend"]["persistentID"] == wanted
    assert states(api, uuid) == ["Available", "Available"]
    assert audit() == []


def test_an_aborted_migration_is_not_continued(api: Api, pool: Pool, hosts: Hosts) -> None:
    pool(4)
    [host] = hosts.start("a", speed=SLOW)
    uuid = attached(api, host)
    before = set(places(api, uuid))
    task_id = migrate(api, uuid, min(before)).body["taskId"]
    eventually(lambda: task_of(api, task_id)["progress"] > 0, seconds=SECONDS, what="progress")
    body = {"taskId": task_id, "hostId": host, "state": "ABORTED"}
    assert api.put("/tasks", body).status == "Success"
    aborted = task_of(api, task_id)
    attached(api, host, alias="meanwhile")
    assert task_of(api, task_id) == aborted
    assert set(places(api, uuid)) == before


def test_a_host_that_only_reports_does_not_migrate(api: Api, pool: Pool, hosts: Hosts) -> None:
    pool(4)
    [host] = hosts.start("a", only_reports=True)
    uuid = attached(api, host)
    asked = migrate(api, uuid, min(places(api, uuid)), migrationHandler="AGENT")
    attached(api, host, alias="meanwhile")
    assert task_of(api, asked.body["taskId"])["state"] == "IDLE"


def test_an_impossible_migration_fails_with_the_reason(api: Api, pool: Pool, hosts: Hosts) -> None:
    nodes = pool(3)
    [host] = hosts.start("a", speed=SLOW)
    uuid = attached(api, host)
    outgoing, staying = places(api, uuid)
    task_id = migrate(api, uuid, outgoing).body["taskId"]
    eventually(lambda: task_of(api, task_id)["progress"] > 0, seconds=SECONDS, what="progress")
    [new] = places(api, uuid).keys() - {outgoing, staying}
    be_silent(places(api, uuid)[new]["backend"]["persistentID"], minutes=1)
    failed = ended(api, task_id)
    assert (failed["state"], failed["taskStatus"]) == ("FAILED", "NotAvailable")
    assert failed["statusDescription"] == "a replica of the migration no longer exists"
    assert set(places(api, uuid)) == {outgoing, staying}
    for node in nodes:
        be_silent(node, minutes=-1)


def test_a_missing_leg_is_resynchronized_when_its_node_returns(
    api: Api, pool: Pool, hosts: Hosts
) -> None:
    pool(2)
    [host] = hosts.start("a")
    uuid = attached(api, host)
    node = next(iter(places(api, uuid).values()))["backend"]["persistentID"]
    be_silent(node, minutes=1)
    come_to(api, uuid, "Available", "Missing")
    be_silent(node, minutes=-1)
    come_to(api, uuid, "Available", "Available")


def test_the_last_good_leg_is_never_marked_missing(api: Api, pool: Pool, hosts: Hosts) -> None:
    """A leg that failed before is not used again without a synchronization."""
    pool(3)
    [host] = hosts.start("a")
    uuid = attached(api, host)
    first, last = (p["backend"]["persistentID"] for p in places(api, uuid).values())
    be_silent(first, minutes=1)
    come_to(api, uuid, "Available", "Missing")
    be_silent(last, minutes=1)
    be_silent(first, minutes=-1)
    attached(api, host, alias="meanwhile")
    assert states(api, uuid) == ["Available", "Missing"]
    be_silent(last, minutes=-1)
    come_to(api, uuid, "Available", "Available")


def test_a_host_replaces_a_leg_that_is_missing_for_too_long(
    api: Api, pool: Pool, hosts: Hosts
) -> None:
    pool(3)
    [host] = hosts.start("a")
    uuid = attached(api, host, maxReplicaDownTime=1)
    lost = lose_one(api, uuid)
    attached(api, host, alias="meanwhile")
    assert lost in places(api, uuid)
    let_time_pass(lost)
    eventually(lambda: lost not in places(api, uuid), seconds=SECONDS, what="it is replaced")
    come_to(api, uuid, "Available", "Available")


def lose_one(api: Api, uuid: str) -> str:
    """Make the node of a replica Unavailable. Returns the replica."""
    lost, place = next(iter(places(api, uuid).items()))
    be_silent(place["backend"]["persistentID"], minutes=1)
    come_to(api, uuid, "Available", "Missing")
    return lost


def test_a_shared_volume_is_healed_only_when_one_host_is_left(
    api: Api, pool: Pool, hosts: Hosts
) -> None:
    pool(4)
    first, second = hosts.start("a", "b")
    uuid = attached(api, first, maxReplicaDownTime=1)
    published(api, uuid, second)
    lost = lose_one(api, uuid)
    let_time_pass(lost)
    for host in (first, second):
        attached(api, host, alias=f"meanwhile-{host}")
    assert set(states(api, uuid)) == {"Available", "Missing"}
    assert len(places(api, uuid)) == 2
    assert api.post("/unpublish", {"volId": uuid, "hostId": first}).status == "Success"
    eventually(lambda: lost not in places(api, uuid), seconds=SECONDS, what="it is replaced")
    come_to(api, uuid, "Available", "Available")


def test_a_host_confirms_removals_that_others_mark(api: Api, pool: Pool, hosts: Hosts) -> None:
    pool(3)
    [host] = hosts.start("a")
    uuid = attached(api, host, 3)
    marked, *others = places(api, uuid)
    assert api.patch(f"/replica/{uuid}/{marked}").status == "Success"
    eventually(lambda: list(places(api, uuid)) == others, seconds=SECONDS, what="it is let go")
    assert audit() == []


def test_a_host_synchronizes_a_leg_that_others_add(api: Api, pool: Pool, hosts: Hosts) -> None:
    pool(3)
    [host] = hosts.start("a", speed=SLOW)
    uuid = attached(api, host)
    assert api.post(f"/replica/{uuid}", {}).status == "Success"
    come_to(api, uuid, "Available", "Available", "Synchronizing")
    come_to(api, uuid, "Available", "Available", "Available")
