"""Drains over HTTP: taking a node out of service."""

from collections.abc import Callable
from functools import partial

import pytest
from django.utils import timezone

from inventory.models import Backend, Host
from inventory.nodes.engines.simulated import SimulatedFleet
from tasks.models import Task
from tests.api.released_clients import DRIVER
from tests.api.replicas_steps import all_available, places, replicated
from tests.api.snapshot_steps import cloned, snapped
from tests.api.volume_steps import HOST, created, probe_host, published, volume
from tests.conftest import Api
from tests.volumes.reconcilers.drain_steps import (
    Pool,
    active,
    contents,
    drain,
    drained,
    host_agent,
    host_without_agent,
    node_named,
    nodes_of,
    placed_on,
    refusals,
    retry,
    settle,
    work,
    write,
)
from volumes.audit import audit
from volumes.models import Drain, Replica
from volumes.reconcilers.relocation import relocate_replicas

pytestmark = pytest.mark.django_db(transaction=True)


def in_use(api: Api, node: str) -> bool:
    [backend] = api.get(f"/backends/{node}").body
    return bool(backend["inUse"])


def node_in_use(fleet: SimulatedFleet, node: str) -> bool:
    """Return the value in the settings of the node itself."""
    settings = node_named(fleet, node).agent.provisioner
    return settings is not None and settings.in_use


def moved(fleet: SimulatedFleet, uuid: str, node: str) -> bool:
    """Whether the replica has left the node, and the volume still has its content."""
    return node not in nodes_of(uuid) and contents(fleet, uuid) == {f"data of {uuid}"}


@pytest.fixture
def node(pool: Pool) -> str:
    """One of six nodes. The test drains it."""
    return pool(6)[0]


@pytest.fixture
def only_here(api: Api, node: str) -> Callable[..., str]:
    """Create a volume whose only replica is on that node."""

    def make(alias: str, **fields: object) -> str:
        return placed_on([node], lambda: created(api, alias, uuid=alias, **fields))

    return make


def test_an_empty_node_is_done_at_once(api: Api, node: str, fleet: SimulatedFleet) -> None:
    assert api.get(f"/backends/{node}/drain").status == "NotExists"
    drained(api, node)
    shown = drain(api, node)
    shown.pop("startDate")
    assert shown == {
        "persistentID": node,
        "done": True,
        "replicas": 0,
        "moved": 0,
        "moving": 0,
        "left": 0,
        "refused": 0,
        "tasks": [],
        "refusals": [],
    }
    settle()
    assert in_use(api, node) is False
    assert node_in_use(fleet, node) is False
    assert api.delete(f"/backends/{node}/drain").status == "Success"
    assert in_use(api, node) is True
    assert node_in_use(fleet, node) is True


def test_an_unknown_node_or_drain_is_not_found(api: Api, node: str) -> None:
    assert api.post("/backends/none/drain").status == "NotExists"
    for path in ("none", node):
        assert api.get(f"/backends/{path}/drain").status == "NotExists"
        assert api.delete(f"/backends/{path}/drain").status == "NotExists"


def test_a_node_that_was_cordoned_before_stays_cordoned(api: Api, node: str) -> None:
    api.put(f"/backends/{node}", {"inUse": False})
    drained(api, node)
    drained(api, node)
    assert api.delete(f"/backends/{node}/drain").status == "Success"
    assert in_use(api, node) is False


def test_a_second_start_keeps_the_state_from_before_the_drain(api: Api, node: str) -> None:
    drained(api, node)
    drained(api, node)
    assert api.delete(f"/backends/{node}/drain").status == "Success"
    assert in_use(api, node) is True


def test_uncordoning_the_node_ends_its_drain(
    api: Api, node: str, only_here: Callable[..., str]
) -> None:
    only_here("u")
    drained(api, node)
    relocate_replicas()
    assert api.put(f"/backends/{node}", {"inUse": True}).status == "Success"
    relocate_replicas()
    assert api.get(f"/backends/{node}/drain").status == "NotExists"
    assert Task.objects.get().state == "ABORTED"
    assert in_use(api, node) is True


def test_removing_the_node_ends_its_drain(api: Api, node: str) -> None:
    drained(api, node)
    assert api.delete(f"/backends/{node}").status == "Success"
    assert Drain.objects.count() == 0


def test_replicas_that_can_move_do_so_and_others_are_listed_with_a_reason(
    api: Api, node: str, only_here: Callable[..., str], fleet: SimulatedFleet
) -> None:
    """The moved replicas keep their content."""
    probe_host(api)
    api.put(f"/backends/{node}", {"hostId": "inside"})
    second = Backend.objects.exclude(pk=node).order_by("pk")[0].pk
    thick = only_here("thick")
    thin = only_here("thin", provisioningType="Thin")
    spanned = only_here("spanned", capacity=1500, storageClass={"allowSpan": True})
    local = only_here("local", protocol="Local")
    snapshot = only_here("with-snapshot")
    snapped(api, snapshot, "s")
    clone = cloned(api, snapshot, "clone")
    in_use_alone = only_here("published")
    published(api, in_use_alone)
    offline = placed_on([node, second], lambda: replicated(api, "offline"))
    all_available(api, offline)
    fresh = placed_on([node, second], lambda: replicated(api, "fresh"))
    online = placed_on([node, second], lambda: replicated(api, "online"))
    published(api, online)
    all_available(api, online)
    by_hand = placed_on([node, second], lambda: replicated(api, "by-hand"))
    other_host = probe_host(api, "other-host", **DRIVER)
    published(api, by_hand, other_host)
    all_available(api, by_hand)
    movable = [by_hand, thick, thin, spanned, clone, offline, fresh, online]
    for uuid in movable:
        write(fleet, uuid)
    drained(api, node)
    hosts = [host_agent(api, fleet), host_without_agent(api, fleet, by_hand)]
    settle(lambda: [host() for host in hosts])
    assert [uuid for uuid in movable if not moved(fleet, uuid, node)] == []
    assert Replica.objects.filter(volume__uuid__in=[offline, fresh, online]).count() == 6
    types = dict(Task.objects.values_list("volume_id", "type"))
    assert (types[online], types[by_hand]) == ("RemoteMigration", "ReplicaSync")
    shown = drain(api, node)
    assert (shown["replicas"], shown["moved"], shown["left"], shown["moving"]) == (11, 8, 3, 0)
    assert (shown["done"], shown["refused"], shown["tasks"]) == (False, 3, [])
    assert shown["waitsFor"] == "replicas that cannot be moved yet"
    reasons = refusals(api, node)
    assert set(reasons) == {local, snapshot, in_use_alone}
    assert "Local" in reasons[local]
    assert "snapshot" in reasons[snapshot]
    assert "published" in reasons[in_use_alone]
    assert audit() == []


def test_a_refused_relocation_is_retried_once_its_cause_is_gone(
    api: Api, node: str, only_here: Callable[..., str], fleet: SimulatedFleet
) -> None:
    uuid = only_here("u")
    write(fleet, uuid)
    published(api, uuid, probe_host(api))
    drained(api, node)
    settle()
    assert set(refusals(api, node)) == {uuid}
    assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "Success"
    settle()
    assert nodes_of(uuid) == {node}
    retry()
    settle()
    assert moved(fleet, uuid, node)
    assert drain(api, node)["done"] is True
    assert in_use(api, node) is False
    assert (node_named(fleet, node).volumes(), audit()) == ({}, [])


def test_at_most_moves_parallel_replicas_move_at_once(
    api: Api, node: str, only_here: Callable[..., str], fleet: SimulatedFleet
) -> None:
    uuids = [only_here(f"u{number}") for number in range(6)]
    drained(api, node)
    relocate_replicas()
    shown = drain(api, node)
    assert (shown["moving"], shown["left"], shown["waitsFor"]) == (4, 6, "its tasks")
    assert {task["volumeID"] for task in shown["tasks"]} <= set(uuids)
    assert {task["type"] for task in shown["tasks"]} == {"ReplicaSync"}
    relocate_replicas()
    assert len(active()) == 4
    settle()
    assert drain(api, node)["done"] is True
    assert audit() == []


def test_a_drain_waits_until_another_node_has_room(
    api: Api, node: str, only_here: Callable[..., str], fleet: SimulatedFleet
) -> None:
    uuid = only_here("u")
    others = Backend.objects.exclude(pk=node)
    others.update(in_use=False)
    drained(api, node)
    settle()
    assert "6 nodes cordoned" in refusals(api, node)[uuid]
    others.update(in_use=True)
    retry()
    settle()
    assert drain(api, node)["done"] is True


def test_a_volume_that_was_never_attached_stays_so(api: Api, node: str, pool: Pool) -> None:
    uuid = placed_on(
        [node, *Backend.objects.exclude(pk=node).values_list("pk", flat=True)[:1]],
        partial(replicated, api, "v"),
    )
    drained(api, node)
    settle()
    assert node not in nodes_of(uuid)
    assert {place["replicaState"] for place in places(api, uuid).values()} == {"Unknown"}
    assert audit() == []


def test_volumes_whose_hosts_are_unavailable_do_not_block_the_others(
    api: Api, node: str, only_here: Callable[..., str], fleet: SimulatedFleet
) -> None:
    """Such volumes do not count for the limit of parallel moves."""
    nodes = [node, *Backend.objects.exclude(pk=node).values_list("pk", flat=True)[:1]]
    probe_host(api)
    of_host = [placed_on(nodes, partial(replicated, api, f"v{number}")) for number in range(4)]
    for uuid in of_host:
        all_available(api, uuid)
        published(api, uuid)
    uuid = only_here("u")
    Host.objects.update(available_until=timezone.now())
    drained(api, node)
    settle()
    assert nodes_of(uuid) != {node}
    reasons = refusals(api, node)
    assert set(reasons) == set(of_host)
    uuid = of_host[0]
    assert reasons[uuid] == f"volume '{uuid}' is published only to hosts that are Unavailable"


def test_a_drain_can_start_again_right_after_the_node_was_uncordoned(api: Api, node: str) -> None:
    drained(api, node)
    assert api.put(f"/backends/{node}", {"inUse": True}).status == "Success"
    drained(api, node)
    settle()
    assert in_use(api, node) is False
    assert api.delete(f"/backends/{node}/drain").status == "Success"
    assert in_use(api, node) is True


def test_a_stopped_drain_undoes_unfinished_copies_and_starts_no_more(
    api: Api, node: str, only_here: Callable[..., str], fleet: SimulatedFleet
) -> None:
    """Replicas that are being moved stay on the node."""
    uuids = [only_here(f"u{number}") for number in range(6)]
    for uuid in uuids:
        write(fleet, uuid)
    node_named(fleet, node).set_copy_rate(0)
    drained(api, node)
    for _ in range(5):
        relocate_replicas()
        work()
    assert Replica.objects.filter(rebuilding=True).count() == 4
    assert api.delete(f"/backends/{node}/drain").status == "Success"
    assert {task.state for task in Task.objects.all()} == {"ABORTED"}
    settle()
    assert all(nodes_of(uuid) == {node} for uuid in uuids)
    assert all(contents(fleet, uuid) == {f"data of {uuid}"} for uuid in uuids)
    assert in_use(api, node) is True
    assert Task.objects.count() == 4
    assert audit() == []


def test_a_relocation_whose_task_was_stopped_is_tried_again(
    api: Api, node: str, only_here: Callable[..., str]
) -> None:
    uuid = only_here("u")
    drained(api, node)
    relocate_replicas()
    [task] = active()
    update = {"taskId": task.pk, "hostId": task.host_id or "nobody", "state": "ABORTED"}
    Task.objects.filter(pk=task.pk).update(host_id="nobody")
    assert api.put("/tasks", update).status == "Success"
    relocate_replicas()
    assert refusals(api, node) == {uuid: f"task {task.pk} is ABORTED: "}
    assert active() == []
    retry()
    settle()
    assert drain(api, node)["done"] is True


def test_refusals_are_listed_page_by_page(
    api: Api, node: str, only_here: Callable[..., str]
) -> None:
    probe_host(api)
    for number in range(4):
        published(api, only_here(f"u{number}"))
    drained(api, node)
    settle()
    first = api.get(f"/backends/{node}/drain", limit=2).body
    assert ([r["volumeID"] for r in first["refusals"]], first["refused"]) == (["u0", "u1"], 4)
    after = api.get(f"/backends/{node}/drain", limit=9, marker="u1").body["refusals"]
    assert [row["volumeID"] for row in after] == ["u2", "u3"]


def test_roles_without_the_right_are_refused(api: Api, node: str) -> None:
    path = f"/backends/{node}/drain"
    monitor = api.as_role("MONITOR")
    assert (monitor.post(path).http, monitor.delete(path).http) == (403, 403)
    drained(api, node)
    assert monitor.get(path).http == 200
    assert api.as_role("STORAGE").get(path).http == 403
    assert api.as_role("ADMIN", tenant="0").post(path).http == 403


def test_a_relocated_volume_shows_its_new_node(
    api: Api, node: str, only_here: Callable[..., str]
) -> None:
    uuid = only_here("u")
    drained(api, node)
    settle()
    [place] = volume(api, uuid)["location"]
    assert place["backend"]["persistentID"] != node
    assert place["uuid"] == uuid
