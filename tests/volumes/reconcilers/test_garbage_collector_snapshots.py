"""Snapshots, snapshot volumes and clones while nodes are down, slow or lose replies."""

from collections.abc import Callable

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.nodes.wire import RefusalCode
from tests.api.snapshot_steps import (
    clone,
    cloned,
    consumed,
    create_snapshot_volume,
    created_snapshot_volume,
    snap,
    snapped,
)
from tests.api.volume_steps import created, volume
from tests.conftest import Answer, Api
from tests.volumes.reconcilers.garbage_collector_steps import collect_overdue
from volumes.audit import audit
from volumes.models import Replica, Snapshot, Volume

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
Make = Callable[[Api, str, str], Answer]


@pytest.fixture
def quick(settings: Settings, fleet: SimulatedFleet) -> None:
    """End node calls after one second."""
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"node_call_seconds": 1})


def make_snapshot(api: Api, parent: str, made: str) -> Answer:
    return snap(api, parent, "x", snapshotID="x")


def make_snapshot_volume(api: Api, parent: str, made: str) -> Answer:
    return create_snapshot_volume(api, made, "x", volumeID="x", writable=True)


def make_clone(api: Api, parent: str, made: str) -> Answer:
    return clone(api, parent, "x", volumeId="x")


MAKES = [make_snapshot, make_snapshot_volume, make_clone]


def counts() -> tuple[int, int, int]:
    return Volume.objects.count(), Replica.objects.count(), Snapshot.objects.count()


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("fault", ["go_down", "lose_reply", "lose_request", "fail"])
def test_a_create_that_its_node_does_not_confirm_leaves_nothing(
    api: Api, pool: Pool, fleet: SimulatedFleet, make: Make, fault: str
) -> None:
    pool(1)
    parent = created(api, "v")
    made = snapped(api, parent, "s")
    getattr(fleet.nodes[0].faults, fault)()
    assert make(api, parent, made).status == "NotAvailable"
    assert len(api.get("/volumes").body) + len(api.get("/snapshots").body) == 2
    fleet.nodes[0].faults.clear()
    collect_overdue()
    assert (counts(), consumed(api)) == ((1, 1, 1), 20)
    assert (set(fleet.nodes[0].volumes()), set(fleet.nodes[0].snapshots())) == ({parent}, {made})
    assert audit() == []
    assert make(api, parent, made).status == "Success"
    assert audit() == []


@pytest.mark.parametrize("make", MAKES)
def test_a_retry_right_after_a_lost_reply_succeeds(
    api: Api, pool: Pool, fleet: SimulatedFleet, make: Make
) -> None:
    """The retry names the same uuid. The object that the first attempt created on the node is
    removed first.
    """
    pool(1)
    parent = created(api, "v")
    made = snapped(api, parent, "s")
    fleet.nodes[0].faults.lose_reply(method="PUT")
    assert make(api, parent, made).status == "NotAvailable"
    assert make(api, parent, made).body["persistentId"] == "x"
    collect_overdue()
    assert audit() == []
    assert consumed(api) == 30


@pytest.mark.parametrize("make", MAKES)
def test_a_slow_node_cannot_create_late_what_was_aborted(
    api: Api, pool: Pool, fleet: SimulatedFleet, quick: None, make: Make
) -> None:
    pool(1)
    parent = created(api, "v")
    made = snapped(api, parent, "s")
    fleet.nodes[0].faults.slow(1500, method="PUT", times=1)
    assert make(api, parent, made).status == "NotAvailable"
    collect_overdue()
    assert counts() == (1, 1, 1)
    fleet.nodes[0].finish_calls()
    assert (set(fleet.nodes[0].volumes()), set(fleet.nodes[0].snapshots())) == ({parent}, {made})
    assert audit() == []


@pytest.mark.parametrize("make", MAKES)
def test_rows_of_a_dead_process_are_rolled_back(
    api: Api, pool: Pool, fleet: SimulatedFleet, make: Make
) -> None:
    """The first transaction left the rows. It does not matter what the node has of them."""
    pool(1)
    parent = created(api, "v")
    made = snapped(api, parent, "s")
    assert make(api, parent, made).status == "Success"
    unfinished = {"state": "CREATING", "deadline_at": timezone.now()}
    Replica.objects.filter(volume__uuid="x").update(**unfinished)
    Volume.objects.filter(uuid="x").update(**unfinished)
    Snapshot.objects.filter(uuid="x").update(**unfinished)
    assert [api.get(f"/{kind}/x").body for kind in ("volumes", "snapshots")] == [[], []]
    collect_overdue()
    collect_overdue()
    assert (counts(), consumed(api)) == ((1, 1, 1), 20)
    assert (set(fleet.nodes[0].volumes()), set(fleet.nodes[0].snapshots())) == ({parent}, {made})
    assert audit() == []


def test_a_volume_cannot_be_deleted_while_its_snapshot_is_being_taken(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    parent = created(api, "v")
    made = snapped(api, parent, "s")
    Snapshot.objects.update(state="CREATING", deadline_at=timezone.now())
    assert api.delete(f"/volumes/{parent}").status == "VolumeIsInUse"
    assert create_snapshot_volume(api, made, "sv").status == "NotExists"
    assert api.delete(f"/snapshots/{made}").status == "Success"
    assert api.delete(f"/volumes/{parent}").status == "Success"
    assert counts() == (0, 0, 0)
    assert audit() == []


def test_a_node_that_is_back_is_cleaned_from_youngest_to_oldest_in_one_round(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    """A volume, its snapshots and snapshot volumes were deleted while the node was down."""
    pool(1)
    parent = created(api, "v")
    made = snapped(api, parent, "s")
    shown = created_snapshot_volume(api, made, "sv", writable=True)
    inner = snapped(api, shown, "s2")
    last = created_snapshot_volume(api, inner, "sv2")
    free = cloned(api, last, "c")
    fleet.nodes[0].faults.go_down()
    for path in (
        f"/volumes/{last}",
        f"/snapshots/{inner}",
        f"/volumes/{shown}",
        f"/snapshots/{made}",
        f"/volumes/{parent}",
    ):
        assert api.delete(path).status == "Success"
    collect_overdue()
    assert (counts(), consumed(api)) == ((4, 4, 2), 50)
    fleet.nodes[0].faults.come_up()
    collect_overdue()
    assert (counts(), consumed(api)) == ((1, 1, 0), 10)
    assert set(fleet.nodes[0].volumes()) == {free}
    assert audit() == []


def test_a_deleted_uuid_can_be_used_again_once_its_node_is_back(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    parent = created(api, "v")
    made = snapped(api, parent, "s")
    shown = created_snapshot_volume(api, made, "sv")
    fleet.nodes[0].faults.go_down()
    assert api.delete(f"/volumes/{shown}").status == "Success"
    assert create_snapshot_volume(api, made, "sv", volumeID=shown).status == "NotAvailable"
    assert api.delete(f"/snapshots/{made}").status == "Success"
    assert snap(api, parent, "s", snapshotID=made).status == "NotAvailable"
    fleet.nodes[0].faults.come_up()
    assert snapped(api, parent, "s", snapshotID=made) == made
    assert created_snapshot_volume(api, made, "sv", volumeID=shown) == shown
    collect_overdue()
    assert (counts(), audit()) == ((2, 2, 1), [])


@pytest.mark.parametrize("path", ["/v1/snapshots", "/v1/volumes"])
def test_a_delete_whose_reply_was_lost_is_completed(
    api: Api, pool: Pool, fleet: SimulatedFleet, path: str
) -> None:
    pool(1)
    parent = created(api, "v")
    made = snapped(api, parent, "s")
    shown = created_snapshot_volume(api, made, "sv")
    fleet.nodes[0].faults.lose_reply(method="DELETE", path=path)
    assert api.delete(f"/volumes/{shown}").status == "Success"
    assert api.delete(f"/snapshots/{made}").status == "Success"
    collect_overdue()
    assert (counts(), consumed(api)) == ((1, 1, 0), 10)
    assert audit() == []


def test_an_expansion_under_way_bars_snapshots_and_clones(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    parent = created(api, "v")
    fleet.nodes[0].faults.lose_request(method="PATCH")
    assert api.patch(f"/volumes/{parent}", {"newCapacity": 20}).status == "NotAvailable"
    assert snap(api, parent, "s").status == "NotAvailable"
    assert clone(api, parent, "c").status == "NotAvailable"
    collect_overdue()
    snapped(api, parent, "s")
    assert volume(api, cloned(api, parent, "c"))["capacity"] == volume(api, parent)["capacity"]
    assert audit() == []


def test_a_clone_names_the_generation_of_its_source(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    """The node compares it, so a clone never starts with the data of a later volume of that
    uuid.
    """
    pool(1)
    created(api, "v", uuid="u")
    Replica.objects.filter(uuid="u").update(source=None)
    row = Replica.objects.get(uuid="u")
    node = fleet.nodes[0]
    api.delete("/volumes/u")
    created(api, "v", uuid="u")
    assert Replica.objects.get(uuid="u").pk > row.pk
    cloned(api, "u", "c", volumeId="c")
    source = node.volumes()["c"].source
    assert source is not None
    assert source.generation == Replica.objects.get(uuid="u").pk
    assert audit() == []


def test_the_audit_reports_differences_of_snapshots(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    made = snapped(api, created(api, "v"), "s")
    Snapshot.objects.update(uuid="renamed")
    found = [f"{d.subject}: {d.text}" for d in audit()]
    assert found == [
        f"node {node}: does not hold snapshot renamed",
        f"node {node}: holds snapshot {made}, which has no row",
    ]
    Snapshot.objects.update(uuid=made, claimed_bytes=1)
    assert [d.subject for d in audit()] == [f"snapshot {made}", "tenant 0"]


def test_a_node_without_space_answers_no_free_space(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    parent = created(api, "v")
    made = snapped(api, parent, "s")
    for make in MAKES:
        fleet.nodes[0].faults.refuse(RefusalCode.NO_SPACE, method="PUT")
        assert make(api, parent, made).status == "NoFreeSpace"
    collect_overdue()
    assert (counts(), audit()) == ((1, 1, 1), [])
