"""Health of volumes, nodes and the pool over HTTP: docs/explanation/health.md."""

import datetime as dt
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from inventory.jobs import poll_late_backends
from inventory.models import Backend
from inventory.nodes.engines.simulated import SimulatedFleet
from tasks.models import Task
from tests.api.copy_steps import add, advance, standing_still
from tests.api.metrics_steps import samples
from tests.api.replicas_steps import all_available, replicated, report
from tests.api.volume_steps import GIB, HOST, created, probe_host, published, volume
from tests.conftest import Api
from tests.volumes.reconcilers.drain_steps import placed_on
from volumes import health_selectors
from volumes.health import Health
from volumes.health_selectors import volume_healths
from volumes.models import Replica
from volumes.read_models import volume_rows
from volumes.selectors import volumes_visible

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_selectors, "HEALTH_SECONDS", 0)
    monkeypatch.setattr(health_selectors, "READING_FACTOR", 0)


def went_silent(node: str) -> None:
    """Change the node as if it had been silent for a minute. The provisioner has called it since
    then.
    """
    now = timezone.now()
    silent_at = now - dt.timedelta(minutes=1)
    Backend.objects.filter(pk=node).update(available_until=silent_at, polled_at=now)


def backend(api: Api, node: str) -> dict[str, Any]:
    [found] = api.get(f"/backends/{node}").body
    return dict(found)


def named(api: Api, path: str, **query: Any) -> list[str]:
    """Return the aliases of volumes, or the persistentIDs of nodes."""
    answer = api.get(path, **query)
    assert answer.http == 200, answer
    return [row.get("alias") or row["persistentID"] for row in answer.body]


def info(api: Api) -> tuple[str, str]:
    body = api.get("/info").body
    return body["health"], body.get("healthReason", "")


def test_a_published_volume_of_a_host_without_agent_is_healthy(api: Api, pool: Pool) -> None:
    [node] = pool(1)
    uuid = created(api, "v")
    published(api, uuid, probe_host(api))
    shown = volume(api, uuid)
    assert (shown["health"], "healthReason" in shown) == ("Healthy", False)
    found = samples(api)
    [(_, connected)] = found["ks_connected_volumes_state"]
    assert connected == 1, "as the reference has it: no host reported a replica"
    went_silent(node)
    shown = volume(api, uuid)
    assert shown["health"] == "Faulted"
    assert shown["healthReason"] == (
        f"0 of 1 replica can be used; replica {uuid} is on node {node}, which is Unavailable"
    )


def test_the_volumes_of_a_dead_node_are_degraded_or_faulted(api: Api, pool: Pool) -> None:
    nodes = pool(2)
    double = replicated(api, "double")
    single = placed_on([nodes[0]], lambda: created(api, "single"))
    placed_on([nodes[1]], lambda: created(api, "elsewhere"))
    all_available(api, double)
    assert info(api) == ("Healthy", "")
    assert named(api, "/volumes", health="Healthy") == named(api, "/volumes")
    went_silent(nodes[0])
    assert volume(api, double)["health"] == "Degraded"
    assert volume(api, single)["health"] == "Faulted"
    for health, aliases in {"Degraded": ["double"], "Faulted": ["single"], "Unknown": []}.items():
        assert named(api, "/volumes", health=health) == aliases
    assert named(api, "/volumes", health="Healthy") == ["elsewhere"]
    assert named(api, "/0/volumes", health="Faulted", backendId=nodes[0]) == ["single"]
    assert named(api, "/volumes", health="Faulted", backendId=nodes[1]) == []
    assert info(api) == ("Faulted", "1 volume Faulted, 1 volume Degraded, 1 node Unavailable")
    [extended] = api.get(f"/volume_extended/{double}").body
    assert extended["health"] == "Degraded"


def test_pages_of_a_health_filter_are_full(api: Api, pool: Pool) -> None:
    nodes = pool(2)
    for number in range(3):
        placed_on([nodes[0]], lambda n=number: created(api, f"a{n}"))  # type: ignore[misc]
        placed_on([nodes[1]], lambda n=number: created(api, f"b{n}"))  # type: ignore[misc]
    went_silent(nodes[0])
    first = api.get("/volumes", health="Faulted", limit=2, marker="0").body
    rest = api.get("/volumes", health="Faulted", limit=2, marker=first[-1]["uuid"]).body
    assert (len(first), len(rest)) == (2, 1)
    assert {row["alias"] for row in first + rest} == {"a0", "a1", "a2"}
    assert len(api.get("/volumes", health="Healthy", limit=5, offset=1).body) == 2


def test_nodes_have_the_health_of_their_state(api: Api, pool: Pool) -> None:
    first, second, third = pool(3)
    assert (backend(api, first)["health"], "healthReason" in backend(api, first)) == (
        "Available",
        False,
    )
    api.put(f"/backends/{first}", {"inUse": False})
    assert backend(api, first)["health"] == "Cordoned"
    assert backend(api, first)["healthReason"] == "it is cordoned: no new replica is placed on it"
    replicated(api)
    assert api.post(f"/backends/{second}/drain").status == "Success"
    assert backend(api, second)["health"] == "Draining"
    assert backend(api, second)["healthReason"].startswith("it has been draining since 20")
    went_silent(first)
    assert backend(api, first)["health"] == "Unavailable"
    for health, nodes in {
        "Available": [third],
        "Draining": [second],
        "Unavailable": [first],
        "Cordoned": [],
    }.items():
        assert named(api, "/backends", health=health) == nodes
    found = samples(api)["provisioner_node_health"]
    assert {labels["health"]: value for labels, value in found} == {
        "Unavailable": 1,
        "Draining": 1,
        "Cordoned": 0,
        "Available": 1,
    }


def test_the_health_reason_of_a_node_says_why_calls_fail(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    fleet.nodes[0].faults.go_down()
    late = timezone.now() - dt.timedelta(minutes=10)
    Backend.objects.update(available_until=late, polled_at=late, last_probe_at=late)
    poll_late_backends()
    reason = backend(api, node)["healthReason"]
    assert "the node has not answered calls since" in reason
    assert "no probe of the node has arrived since" in reason
    assert "the last call to the node failed: port " in reason
    fleet.nodes[0].faults.clear()
    Backend.objects.update(polled_at=late, last_probe_at=timezone.now())
    poll_late_backends()
    assert (backend(api, node)["health"], "healthReason" in backend(api, node)) == (
        "Available",
        False,
    )


def test_the_health_reason_of_a_node_names_its_token_and_version(api: Api, pool: Pool) -> None:
    [node] = pool(1)
    past = timezone.now() - dt.timedelta(days=1)
    Backend.objects.update(version="4.0", token_expires_at=past)
    reason = backend(api, node)["healthReason"]
    assert "the token of its probes expired at 20" in reason
    assert "its version 4.0 is not compatible: version 3 is required" in reason
    assert backend(api, node)["health"] == "Available"


def test_after_a_stop_of_the_system_health_is_unknown_until_nodes_are_called(
    api: Api, pool: Pool
) -> None:
    pool(1)
    uuid = created(api, "v")
    past = timezone.now() - dt.timedelta(hours=1)
    Backend.objects.update(available_until=past, polled_at=past - dt.timedelta(seconds=1))
    shown = volume(api, uuid)
    assert shown["health"] == "Unknown"
    assert shown["healthReason"].endswith("which is silent and has not been called since")
    assert named(api, "/volumes", health="Unknown") == ["v"]
    assert info(api) == ("Unknown", "1 volume Unknown, 1 node Unavailable")
    poll_late_backends()
    assert volume(api, uuid)["health"] == "Healthy"


def test_a_rebuild_shows_its_progress(api: Api, pool: Pool, fleet: SimulatedFleet) -> None:
    pool(4)
    world = standing_still(api, fleet, replicas=2)
    all_available(api, world.uuid)
    lost = world.rows()[0]
    Replica.objects.filter(pk=lost.pk).update(replica_state="Missing")
    assert volume(api, world.uuid)["health"] == "Degraded"
    task_id = add(world)
    world.node(world.rows()[1]).set_copy_rate(2 * GIB)
    advance(task_id)
    Task.objects.filter(pk=task_id).update(
        bytes_done=3 * GIB, bytes_total=10 * GIB, bytes_per_second=GIB
    )
    shown = volume(api, world.uuid)
    assert (shown["health"], shown["rebuildProgress"], shown["rebuildSecondsLeft"]) == (
        "Rebuilding",
        30.0,
        7,
    )
    assert f"on node {world.new().backend_id} is being rebuilt" in shown["healthReason"]
    assert named(api, "/volumes", health="Rebuilding") == [shown["alias"]]
    assert info(api) == ("Rebuilding", "1 volume Rebuilding")


def test_a_replica_that_its_host_synchronizes_is_being_rebuilt(api: Api, pool: Pool) -> None:
    pool(3)
    uuid = replicated(api)
    published(api, uuid, probe_host(api))
    [first, _] = all_available(api, uuid)
    report(api, uuid, first, "Synchronizing")
    shown = volume(api, uuid)
    assert (shown["health"], "rebuildProgress" in shown) == ("Rebuilding", False)
    assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "Success"
    shown = volume(api, uuid)
    assert shown["health"] == "Degraded", "no host rebuilds it now"
    assert shown["healthReason"].endswith("no host rebuilds it because the volume is not published")


@pytest.mark.parametrize("path", ["/volumes", "/backends"])
def test_a_health_that_does_not_exist_is_refused(api: Api, path: str) -> None:
    answer = api.get(path, health="healthy-ish")
    assert answer.status == "InvalidInput"
    assert answer.description.startswith("health = 'healthy-ish': must be one of ")


def test_the_health_filter_may_be_in_any_case(api: Api, pool: Pool) -> None:
    pool(1)
    assert named(api, "/backends", health="available") == named(api, "/backends")


def test_volumes_are_counted_by_health(api: Api, pool: Pool) -> None:
    nodes = pool(2)
    placed_on([nodes[0]], lambda: created(api, "a"))
    placed_on([nodes[1]], lambda: created(api, "b"))
    went_silent(nodes[0])
    found = samples(api)["provisioner_volume_health"]
    numbers = {labels["health"]: value for labels, value in found}
    assert numbers == dict.fromkeys(Health, 0) | {Health.FAULTED: 1, Health.HEALTHY: 1}


def test_the_health_of_a_page_needs_a_query_only_during_a_rebuild(api: Api, pool: Pool) -> None:
    pool(3)
    uuid = replicated(api)
    published(api, uuid, probe_host(api))
    [first, _] = all_available(api, uuid)
    rows = volume_rows(volumes_visible(None))
    with CaptureQueriesContext(connection) as queries:
        volume_healths(rows)
    assert len(queries) == 0
    report(api, uuid, first, "Synchronizing")
    rows = volume_rows(volumes_visible(None))
    with CaptureQueriesContext(connection) as queries:
        volume_healths(rows)
    assert len(queries) == 1


def test_the_health_of_the_pool_is_cached_for_some_seconds(
    api: Api, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    [node] = pool(1)
    monkeypatch.setattr(health_selectors, "HEALTH_SECONDS", 3600)
    assert info(api) == ("Healthy", "")
    went_silent(node)
    assert info(api) == ("Healthy", "")
    health_selectors.pool_counts_cache.forget()
    assert info(api) == ("Degraded", "1 node Unavailable")


def test_health_that_takes_long_to_read_is_read_less_often(
    api: Api, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    [node] = pool(1)
    monkeypatch.setattr(health_selectors, "READING_FACTOR", 20)
    passed = [0.0]
    monkeypatch.setattr(health_selectors, "time", SimpleNamespace(monotonic=lambda: passed[0]))
    reading = health_selectors.volume_counts

    def read_long() -> dict[Health, int]:
        passed[0] += 10
        return reading()

    monkeypatch.setattr(health_selectors, "volume_counts", read_long)
    assert info(api) == ("Healthy", "")
    went_silent(node)
    passed[0] += 199
    assert info(api) == ("Healthy", "")
    passed[0] += 2
    assert info(api) == ("Degraded", "1 node Unavailable")


def test_one_thread_reads_the_health_and_others_do_not_wait(
    api: Api, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool(1)
    cache = health_selectors.PoolCountsCache()
    first = cache.get()
    reading, go_on = threading.Event(), threading.Event()

    def read_long() -> dict[Health, int]:
        reading.set()
        assert go_on.wait(20)
        return dict(first.volumes)

    monkeypatch.setattr(health_selectors, "volume_counts", read_long)
    with ThreadPoolExecutor(1) as pool_of_one:
        slow = pool_of_one.submit(cache.get)
        assert reading.wait(20)
        assert cache.get().volumes == first.volumes
        go_on.set()
        assert slow.result(20).volumes == first.volumes
