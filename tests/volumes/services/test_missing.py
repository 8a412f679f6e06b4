"""Nodes have lost data: calls that need it fail, the replica is Missing at once, and no empty
replica replaces it.
"""

import datetime as dt
from collections.abc import Callable

import pytest
from django.utils import timezone

from inventory.models import Backend, Ssd
from inventory.nodes.engines.simulated import SimulatedFleet, SimulatedNode
from tasks.models import Task
from tests.api.snapshot_steps import clone, cloned, snap, snapped
from tests.api.volume_steps import GIB, HOST, created, probe_host, published, volume
from tests.conftest import Answer, Api
from tests.sagas.checks import work_off_all
from tests.sagas.volume_worlds import DATA, World
from tests.volumes.reconcilers.drain_steps import drained, node_named
from tests.volumes.reconcilers.garbage_collector_steps import collect_overdue
from tests.volumes.reconcilers.node_check_steps import check
from volumes.audit import audit
from volumes.models import Replica, Tenant, Volume
from volumes.reconcilers.relocation import relocate_replicas
from volumes.services.node.contents import NodeContents, nodes_read
from volumes.services.node.missing import ReadyRows, mark_missing

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
Lose = Callable[[SimulatedNode, str], None]

LOSSES: dict[str, Lose] = {
    "vanished": lambda node, uuid: node.vanish(uuid),
    "came back empty": lambda node, uuid: node.come_back_empty(),
}


@pytest.fixture(params=LOSSES)
def lose(request: pytest.FixtureRequest, fleet: SimulatedFleet) -> Callable[[Replica], None]:
    """Lose a replica without telling anybody."""

    def act(replica: Replica) -> None:
        LOSSES[request.param](node_of(fleet, replica), replica.uuid)

    return act


@pytest.fixture
def world(api: Api, pool: Pool, fleet: SimulatedFleet) -> World:
    """A pool of four nodes, and a volume with two Available replicas."""
    pool(4)
    made = World(api, fleet)
    made.volume()
    return made


def node_of(fleet: SimulatedFleet, replica: Replica) -> SimulatedNode:
    return node_named(fleet, str(replica.backend_id))


def expand(api: Api, uuid: str, gib: int = 15) -> Answer:
    return api.patch(f"/volumes/{uuid}", {"newCapacity": gib})


def states(uuid: str) -> list[str]:
    rows = Replica.objects.filter(volume__uuid=uuid, state="READY").order_by("pk")
    return list(rows.values_list("replica_state", flat=True))


def claims() -> tuple[object, ...]:
    return (
        list(Tenant.objects.order_by("pk").values_list("used_bytes", flat=True)),
        list(Ssd.objects.order_by("pk").values_list("used_bytes", flat=True)),
        list(Volume.objects.values_list("capacity_bytes", "expanding_to_bytes", "claimed_bytes")),
    )


def nothing_is_empty_and_good(fleet: SimulatedFleet) -> None:
    """Check that every Available or Unknown replica is on its node, with the data."""
    for row in Replica.objects.filter(state="READY", replica_state__in=["Available", "Unknown"]):
        assert node_of(fleet, row).read(row.uuid) == DATA


@pytest.mark.parametrize("checked", [False, True])
def test_expand_is_refused_where_the_only_replica_is_lost(
    api: Api, pool: Pool, fleet: SimulatedFleet, lose: Callable[[Replica], None], *, checked: bool
) -> None:
    pool(1)
    uuid = created(api, "v")
    [replica] = Replica.objects.all()
    lose(replica)
    if checked:
        check()
    before = claims()
    for _ in range(2):
        answer = expand(api, uuid)
        assert answer.status == "NotAvailable"
        assert f"replica '{uuid}'" in answer.description
        assert "is Missing" in answer.description
        assert claims() == before
        assert fleet.nodes[0].volumes() == {}
        check()
        collect_overdue()
        assert states(uuid) == ["Missing"]


def test_expand_is_refused_while_a_replica_is_missing(
    world: World, lose: Callable[[Replica], None]
) -> None:
    lost, kept = world.rows()
    lose(lost)
    before = claims()
    answer = expand(world.api, world.uuid)
    assert answer.status == "NotAvailable"
    assert f"replica '{lost.uuid}'" in answer.description
    assert claims() == before
    assert states(world.uuid) == ["Missing", "Available"]
    spec = world.node(kept).volumes()[kept.uuid]
    assert spec.capacity == 10 * GIB


def test_an_expansion_ends_without_a_replica_that_was_lost_meanwhile(
    world: World, lose: Callable[[Replica], None]
) -> None:
    """The node of the replica is down during the expansion, and comes back without the data. The
    collector runs before the node check. Then the node of the other replica is drained.
    """
    lost, kept = world.rows()
    world.node(lost).faults.go_down()
    assert expand(world.api, world.uuid).status == "NotAvailable"
    world.node(lost).faults.come_up()
    lose(lost)
    collect_overdue()
    assert volume(world.api, world.uuid)["capacity"] == 15 * GIB
    assert states(world.uuid) == ["Missing", "Available"]
    assert lost.uuid not in world.node(lost).volumes()
    drained(world.api, str(kept.backend_id))
    for _ in range(3):
        relocate_replicas()
        work_off_all()
        check()
        nothing_is_empty_and_good(world.fleet)
    assert any(row.backend_id != kept.backend_id for row in world.rows())


def test_an_expansion_whose_only_replica_is_lost_ends_with_an_error(
    api: Api, pool: Pool, fleet: SimulatedFleet, lose: Callable[[Replica], None]
) -> None:
    """The expansion is claimed and its node does not answer; then the replica is lost."""
    pool(1)
    uuid = created(api, "v")
    fleet.nodes[0].faults.lose_request(method="PATCH")
    assert expand(api, uuid).status == "NotAvailable"
    lose(Replica.objects.get())
    answer = expand(api, uuid)
    assert (answer.status, "is Missing" in answer.description) == ("NotAvailable", True)
    assert Volume.objects.get().expanding_to_bytes is None
    assert states(uuid) == ["Missing"]
    assert fleet.nodes[0].volumes() == {}


def test_a_replica_that_missed_an_expansion_is_expanded_when_it_is_back(world: World) -> None:
    away, other = world.rows()
    world.node(away).faults.go_down()
    assert expand(world.api, world.uuid).status == "NotAvailable"
    world.report(away.uuid, "Missing")
    collect_overdue()
    assert volume(world.api, world.uuid)["capacity"] == 15 * GIB
    world.node(away).faults.come_up()
    world.report(away.uuid, "Available")
    check()
    collect_overdue()
    sizes = {world.node(row).volumes()[row.uuid].capacity for row in (away, other)}
    assert sizes == {15 * GIB}
    world.expect(2)


def test_an_expansion_while_a_node_is_read_is_not_repeated(world: World) -> None:
    """What was read from the node is older than the rows. The volume stays usable."""
    replica, _ = world.rows()
    backend = Backend.objects.get(pk=replica.backend_id)
    before = ReadyRows.of([backend])
    contents = nodes_read([backend], timeout_seconds=10)[backend.pk]
    assert isinstance(contents, NodeContents)
    assert expand(world.api, world.uuid).status == "Success"
    assert mark_missing(backend, contents, before) == []
    assert Volume.objects.get(uuid=world.uuid).expanding_to_bytes is None


def test_publish_omits_a_lost_replica(world: World, lose: Callable[[Replica], None]) -> None:
    lost, _ = world.rows()
    lose(lost)
    published(world.api, world.uuid, probe_host(world.api))
    assert states(world.uuid) == ["Missing", "Available"]
    places = volume(world.api, world.uuid)["location"]
    assert {place["uuid"]: place["inUse"] for place in places}[lost.uuid] is False


def test_a_lost_volume_is_not_published(
    api: Api, pool: Pool, lose: Callable[[Replica], None]
) -> None:
    pool(1)
    uuid = created(api, "v")
    lose(Replica.objects.get())
    answer = api.post("/publish", {"volId": uuid, "hostId": probe_host(api)})
    assert answer.status == "PublishFailed"
    assert states(uuid) == ["Missing"]


@pytest.mark.parametrize("make", [snap, clone])
def test_a_lost_volume_cannot_be_snapshotted_or_cloned(
    api: Api, pool: Pool, lose: Callable[[Replica], None], make: Callable[..., Answer]
) -> None:
    pool(1)
    uuid = created(api, "v")
    lose(Replica.objects.get())
    assert make(api, uuid, "x").status == "NotAvailable"
    assert states(uuid) == ["Missing"]
    collect_overdue()
    assert Volume.objects.count() == 1


def test_a_lost_clone_is_not_created_again(api: Api, pool: Pool, fleet: SimulatedFleet) -> None:
    pool(1)
    source = created(api, "v")
    copy = cloned(api, source, "c")
    fleet.nodes[0].write(source, "written since")
    fleet.nodes[0].lose(copy)
    assert expand(api, copy).status == "NotAvailable"
    check()
    collect_overdue()
    assert states(copy) == ["Missing"]
    assert list(fleet.nodes[0].volumes()) == [source]


def test_a_lost_replica_is_not_copied_from(world: World, lose: Callable[[Replica], None]) -> None:
    """The task copies from the other replica instead."""
    lost, kept = world.rows()
    lose(lost)
    assert world.api.post(f"/replica/{world.uuid}", {}).status == "Success"
    work_off_all()
    assert Task.objects.get().state == "FINISHED"
    assert states(world.uuid) == ["Missing", "Available", "Available"]
    nothing_is_empty_and_good(world.fleet)
    assert world.node(kept).read(kept.uuid) == DATA


def test_a_host_cannot_say_that_a_lost_replica_is_available(
    world: World, lose: Callable[[Replica], None]
) -> None:
    lost, _ = world.rows()
    lose(lost)
    check()
    for state in ("Available", "Synchronizing"):
        answer = world.api.patch(f"/replica/{world.uuid}/{lost.uuid}/{state}")
        assert answer.status == "NotExists"
        assert "lost it" in answer.description
    world.report(lost.uuid, "Missing")
    assert states(world.uuid) == ["Missing", "Available"]


def test_a_lost_replica_is_replaced_by_self_healing(
    world: World, lose: Callable[[Replica], None]
) -> None:
    Volume.objects.update(max_replica_down_minutes=1)
    lost, _ = world.rows()
    lose(lost)
    check()
    Replica.objects.update(replica_state_since=timezone.now() - dt.timedelta(minutes=2))
    relocate_replicas()
    work_off_all()
    collect_overdue()
    check()
    assert lost not in world.rows()
    world.expect(2)


def test_the_audit_reports_a_lost_replica(api: Api, pool: Pool, fleet: SimulatedFleet) -> None:
    [node] = pool(1)
    uuid = created(api, "v")
    published(api, uuid, probe_host(api))
    fleet.nodes[0].vanish(uuid)
    texts = {one.text for one in audit() if one.subject == f"node {node}"}
    assert {f"does not hold replica {uuid}", f"has lost {uuid}, which its agent recorded"} <= texts
    assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "Success"
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    assert audit() == []


def test_a_snapshot_of_a_lost_volume_is_removed_with_it(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    uuid = created(api, "v")
    taken = snapped(api, uuid, "s")
    fleet.nodes[0].vanish(uuid)
    fleet.nodes[0].vanish(taken)
    check()
    for path in (f"/snapshots/{taken}", f"/volumes/{uuid}"):
        assert api.delete(path).status == "Success"
    assert audit() == []
