"""Nodes are down, slow, full or lose replies. Nothing is left over, and no acknowledged change is
lost.
"""

import datetime as dt
import time
from collections.abc import Callable

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from inventory.models import Backend
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.nodes.wire import RefusalCode
from tests.api.copy_steps import add, standing_still
from tests.api.volume_steps import GIB, HOST, create, created, probe_host, published, volume
from tests.conftest import Api
from tests.volumes.reconcilers.garbage_collector_steps import collect_overdue
from volumes.audit import audit
from volumes.models import Export, Replica, Volume

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


def node_of(api: Api, uuid: str) -> str:
    return str(volume(api, uuid)["location"][0]["backend"]["persistentID"])


def index(nodes: list[str], node: str) -> int:
    return nodes.index(node)


@pytest.fixture
def quick(settings: Settings, fleet: SimulatedFleet) -> None:
    """End node calls after one second."""
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"node_call_seconds": 1})


@pytest.mark.parametrize("fault", ["go_down", "fill_up", "lose_reply", "lose_request", "fail"])
def test_another_node_is_chosen_when_one_fails(
    api: Api, pool: Pool, fleet: SimulatedFleet, fault: str
) -> None:
    nodes = pool(2)
    first = node_of(api, created(api, "probe", uuid="seed"))
    api.delete("/volumes/seed")
    getattr(fleet.nodes[index(nodes, first)].faults, fault)()
    uuid = created(api, "again", uuid="seed")
    assert node_of(api, uuid) != first
    fleet.nodes[index(nodes, first)].faults.clear()
    collect_overdue()
    assert fleet.nodes[index(nodes, first)].volumes() == {}
    assert audit() == []


def test_a_create_that_no_node_accepts_leaves_nothing(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    nodes = pool(2)
    for node in fleet.nodes[:2]:
        node.faults.refuse(RefusalCode.NO_SPACE, method="PUT", path="/v1/volumes", times=0)
    answer = create(api, "v", uuid="u1", storageClass={"numReplicas": 2})
    assert answer.status == "NoMatchingBackend"
    assert "2 nodes that just failed to create the volume" in answer.description
    assert nodes[0] in answer.description
    for node in fleet.nodes[:2]:
        node.faults.clear()
    assert created(api, "v", uuid="u1", storageClass={"numReplicas": 2}) == "u1"
    collect_overdue()
    assert audit() == []
    assert api.get("/tenants").body[0]["consumedCapacity"] == 20


def test_a_create_leaves_nothing_if_one_of_three_replicas_has_no_node(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(3)
    fleet.nodes[1].faults.go_down()
    answer = create(api, "v", storageClass={"numReplicas": 3})
    assert answer.status == "NotEnoughMatchingBackends"
    assert api.get("/volumes").body == []
    fleet.nodes[1].faults.come_up()
    collect_overdue()
    assert [node.volumes() for node in fleet.nodes[:3]] == [{}, {}, {}]
    assert audit() == []


def test_a_slow_node_cannot_create_late_what_was_aborted(
    api: Api, pool: Pool, fleet: SimulatedFleet, quick: None
) -> None:
    pool(1)
    fleet.nodes[0].faults.slow(1500, method="PUT", path="/v1/volumes", times=1)
    started = time.monotonic()
    assert create(api, "v").status == "NotAvailable"
    assert time.monotonic() - started < 10
    collect_overdue()
    assert Volume.objects.count() == 0
    fleet.nodes[0].finish_calls()
    assert fleet.nodes[0].volumes() == {}
    assert audit() == []


def test_rows_of_a_process_that_died_before_its_node_calls_are_rolled_back(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    """The first transaction left the rows. A real kill is tested in tests/system."""
    pool(1)
    uuid = created(api, "v")
    deadline = timezone.now()
    Replica.objects.update(state="CREATING", deadline_at=deadline)
    Volume.objects.update(state="CREATING", deadline_at=deadline)
    assert api.get(f"/volumes/{uuid}").body == []
    collect_overdue()
    collect_overdue()
    assert fleet.nodes[0].volumes() == {}
    assert Volume.objects.count() == 0
    assert audit() == []


def test_capacity_stays_claimed_until_the_dead_node_confirms_the_delete(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    uuid = created(api, "v")
    fleet.nodes[0].faults.go_down()
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    assert api.get(f"/volumes/{uuid}").body == []
    assert api.get("/tenants").body[0]["consumedCapacity"] == 10
    collect_overdue()
    assert api.get("/tenants").body[0]["consumedCapacity"] == 10
    fleet.nodes[0].faults.come_up()
    assert created(api, "v", uuid=uuid) == uuid
    collect_overdue()
    assert api.get("/tenants").body[0]["consumedCapacity"] == 10
    assert uuid in fleet.nodes[0].volumes()
    assert audit() == []


def test_a_delete_whose_reply_was_lost_is_completed(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    uuid = created(api, "v")
    fleet.nodes[0].faults.lose_reply(method="DELETE")
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    assert Replica.objects.count() == 1
    collect_overdue()
    assert Volume.objects.count() == 0
    assert audit() == []


@pytest.mark.parametrize("fault", ["go_down", "lose_reply", "lose_request"])
def test_the_collector_completes_a_claimed_expansion(
    api: Api, pool: Pool, fleet: SimulatedFleet, fault: str
) -> None:
    pool(2)
    uuid = created(api, "v", storageClass={"numReplicas": 2})
    which = {} if fault == "go_down" else {"method": "PATCH"}
    getattr(fleet.nodes[0].faults, fault)(**which)
    answer = api.patch(f"/volumes/{uuid}", {"newCapacity": 15})
    assert answer.status == "NotAvailable"
    assert "completed when all nodes answer" in answer.description
    assert volume(api, uuid)["capacity"] == 10 * GIB
    fleet.nodes[0].faults.clear()
    collect_overdue()
    assert volume(api, uuid)["capacity"] == 15 * GIB
    assert audit() == []


def test_a_retry_completes_a_claimed_expansion(api: Api, pool: Pool, fleet: SimulatedFleet) -> None:
    pool(1)
    uuid = created(api, "v")
    fleet.nodes[0].faults.lose_reply(method="PATCH")
    assert api.patch(f"/volumes/{uuid}", {"newCapacity": 15}).status == "NotAvailable"
    assert api.patch(f"/volumes/{uuid}", {"newCapacity": 15}).status == "Success"
    assert volume(api, uuid)["capacity"] == 15 * GIB
    assert audit() == []


def test_expand_is_refused_while_a_node_is_unavailable(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    nodes = pool(1)
    uuid = created(api, "v")
    Backend.objects.filter(pk=nodes[0]).update(available_until=timezone.now())
    answer = api.patch(f"/volumes/{uuid}", {"newCapacity": 15})
    assert answer.status == "NotAvailable"
    assert "nothing was changed" in answer.description
    assert Volume.objects.get().expanding_to_bytes is None


def test_an_export_follows_when_its_node_is_back(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(2)
    probe_host(api)
    uuid = created(api, "v", storageClass={"numReplicas": 2})
    fleet.nodes[1].faults.go_down()
    published(api, uuid)
    fleet.nodes[1].faults.come_up()
    collect_overdue()
    assert [place["inUse"] for place in volume(api, uuid)["location"]] == [True, True]
    assert audit() == []


def test_the_target_of_a_copy_follows_when_its_node_is_back(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    """Also if its task never runs again."""
    pool(3)
    world = standing_still(api, fleet, replicas=2)
    for node in fleet.nodes:
        node.faults.fail(method="PUT", path="/v1/targets", times=0)
    add(world)
    export = Export.objects.get(for_copy=True)
    assert (export.state, export.replica_id) == ("CREATING", world.new().pk)
    place = world.node(world.new())
    assert place.engine.targets == {}
    for node in fleet.nodes:
        node.faults.clear()
    collect_overdue()
    assert Export.objects.get().state == "READY"
    assert list(place.engine.targets) == [export.target_nqn]
    assert audit() == []


def test_a_publish_whose_reply_was_lost_leaves_no_access(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    probe_host(api)
    uuid = created(api, "v")
    fleet.nodes[0].faults.lose_reply(method="PUT")
    answer = api.post("/publish", {"volId": uuid, "hostId": HOST})
    assert answer.status == "PublishFailed"
    collect_overdue()
    assert fleet.nodes[0].engine.targets == {}
    assert audit() == []
    published(api, uuid)
    assert audit() == []


def test_unpublish_succeeds_while_its_node_is_unavailable(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    nodes = pool(1)
    uuid = created(api, "v")
    published(api, uuid, probe_host(api))
    fleet.nodes[0].faults.go_down()
    Backend.objects.filter(pk=nodes[0]).update(available_until=timezone.now())
    assert api.post("/unpublish", {"volId": uuid}).status == "Success"
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    fleet.nodes[0].faults.come_up()
    later = timezone.now() + dt.timedelta(minutes=1)
    Backend.objects.filter(pk=nodes[0]).update(available_until=later)
    collect_overdue()
    collect_overdue()
    assert (fleet.nodes[0].engine.targets, fleet.nodes[0].volumes()) == ({}, {})
    assert (Export.objects.count(), Volume.objects.count()) == (0, 0)
    assert audit() == []


def test_a_late_unpublish_cannot_undo_the_next_publish(
    api: Api, pool: Pool, fleet: SimulatedFleet, quick: None
) -> None:
    pool(1)
    uuid = created(api, "v")
    published(api, uuid, probe_host(api))
    fleet.nodes[0].faults.slow(1500, method="DELETE", times=1)
    assert api.post("/unpublish", {"volId": uuid}).status == "UnpublishFailed"
    published(api, uuid)
    fleet.nodes[0].finish_calls()
    collect_overdue()
    [target] = fleet.nodes[0].engine.targets.values()
    assert list(target.namespaces.values()) == [uuid]
    assert Export.objects.count() == 1
    assert audit() == []


def test_the_audit_reports_each_kind_of_difference(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    nodes = pool(2)
    uuid = created(api, "v")
    index = nodes.index(node_of(api, uuid))
    Replica.objects.filter(uuid=uuid).update(uuid="renamed")
    Backend.objects.filter(pk=nodes[1 - index]).update(used_iops=5)
    fleet.nodes[1 - index].faults.go_down()
    found = [f"{d.subject}: {d.text}" for d in audit()]
    assert found == sorted(
        [
            f"node {nodes[index]}: does not hold replica renamed",
            f"node {nodes[index]}: holds volume {uuid}, which has no row",
            f"node {nodes[1 - index]}: the claimed IOPS and bandwidth are (5, 0), "
            "its replicas claim (0, 0)",
            next(t for t in found if "cannot be read" in t),
        ]
    )
