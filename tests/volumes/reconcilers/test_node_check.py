"""The node check finds lost and orphaned objects."""

import datetime as dt

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from inventory.models import Backend
from inventory.nodes import wire
from inventory.nodes.engines.simulated import SimulatedFleet
from provisioner.common import writes
from tests.api.snapshot_steps import snapped
from tests.api.volume_steps import created, probe_host, published, volume
from tests.conftest import Api
from tests.volumes.reconcilers.node_check_steps import (
    TWO,
    Pool,
    check,
    grow_old,
    noted,
    place,
    stray_volume,
)
from volumes.audit import audit
from volumes.models import Export, Publication, Replica, Snapshot, Volume
from volumes.reconcilers.garbage_collector import collect
from volumes.reconcilers.node_check import check as node_check
from volumes.reconcilers.node_check import orphan_removal
from volumes.reconcilers.node_check.check import nodes_check

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_check_is_recorded_and_a_restart_makes_the_next_one_due(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    before = timezone.now()
    nodes_check()
    row = Backend.objects.get()
    assert row.checked_at is not None
    assert before <= row.checked_at <= timezone.now()
    assert row.checked_boot_id == row.boot_id == fleet.nodes[0].agent.boot_id
    nodes_check()
    assert Backend.objects.get().checked_at == row.checked_at
    Backend.objects.update(boot_id="another")
    nodes_check()
    checked_at = Backend.objects.get(pk=node).checked_at
    assert checked_at is not None
    assert checked_at > row.checked_at


@pytest.mark.parametrize(("seconds", "number"), [(30, 3), (0, 1)])
def test_a_run_continues_while_nodes_are_due_and_time_is_left(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, seconds: float, number: int
) -> None:
    pool(3)
    monkeypatch.setattr(node_check, "CHECK_AT_MOST", 1)
    monkeypatch.setattr(node_check, "RUN_SECONDS", seconds)
    nodes_check()
    assert Backend.objects.exclude(checked_boot_id="").count() == number


def test_the_number_of_queries_of_a_check_is_constant(
    api: Api, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writes, "STALE_SECONDS", 3600)
    writes.writes_clear_cache()
    pool(1)
    probe_host(api)
    numbers = []
    for alias in ("v1", "v2"):
        published(api, created(api, alias))
        with CaptureQueriesContext(connection) as captured:
            check()
        numbers.append(len(captured))
    assert numbers[0] == numbers[1]


def test_a_node_that_cannot_be_read_is_due_again_within_a_minute(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(2)
    fleet.nodes[0].faults.refuse(wire.RefusalCode.UNAVAILABLE, path="/v1/snapshots", times=0)
    nodes_check()
    failed, checked = Backend.objects.order_by("pk")
    assert failed.checked_at is not None
    assert checked.checked_at is not None
    due_in = failed.checked_at + dt.timedelta(seconds=600) - timezone.now()
    assert dt.timedelta(seconds=50) < due_in <= dt.timedelta(seconds=60)
    assert timezone.now() - checked.checked_at < dt.timedelta(seconds=50)


def test_a_node_is_checked_after_the_clock_stepped_back(pool: Pool) -> None:
    [node] = pool(1)
    in_an_hour = timezone.now() + dt.timedelta(hours=1)
    Backend.objects.update(checked_at=in_an_hour, checked_boot_id=F("boot_id"))
    stray_volume(node, "orphan")
    nodes_check()
    assert noted() == {(node, "volume", "orphan")}


def test_an_unavailable_node_is_not_checked(api: Api, pool: Pool) -> None:
    pool(1)
    Backend.objects.update(available_until=timezone.now())
    nodes_check()
    assert Backend.objects.get().checked_at is None


def test_lost_exports_are_created_again(api: Api, pool: Pool, fleet: SimulatedFleet) -> None:
    pool(2)
    uuid = created(api, "v", storageClass=TWO)
    published(api, uuid, probe_host(api))
    fleet.nodes[0].lose_targets()
    assert audit() != []
    check()
    assert audit() == []
    assert set(Export.objects.values_list("state", "deadline_at")) == {("READY", None)}


def test_lost_exports_whose_node_fails_are_left_to_the_collector(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    published(api, created(api, "v"), probe_host(api))
    fleet.nodes[0].lose_targets()
    fleet.nodes[0].faults.refuse(wire.RefusalCode.UNAVAILABLE, method="PUT")
    check()
    assert list(Export.objects.values_list("state", flat=True)) == ["CREATING"]
    collect()
    assert audit() == []


def test_a_lost_replica_is_missing_and_not_created_again(
    api: Api, pool: Pool, fleet: SimulatedFleet, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = pool(2)
    uuid = created(api, "v", storageClass=TWO)
    lost = place(api, uuid)
    index = nodes.index(lost["backend"]["persistentID"])  # type: ignore[index]
    fleet.nodes[index].lose(str(lost["uuid"]))
    check()
    check()
    states = {p["uuid"]: p["replicaState"] for p in volume(api, uuid)["location"]}
    assert states.pop(lost["uuid"]) == "Missing"
    assert list(states.values()) == ["Unknown"]
    assert fleet.nodes[index].volumes() == {}
    assert caplog.text.count("a node lost a replica") == 1


def test_the_only_replica_is_missing_until_its_node_has_it_again(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    uuid = created(api, "v")
    [replica] = Replica.objects.all()
    fleet.nodes[0].lose(uuid)
    check()
    assert place(api, uuid)["replicaState"] == "Missing"
    assert fleet.nodes[0].volumes() == {}
    check()
    assert noted() == set()
    stray_volume(node, uuid, generation=replica.pk)
    check()
    assert place(api, uuid)["replicaState"] == "Unknown"


def test_a_lost_snapshot_is_reported(
    api: Api, pool: Pool, fleet: SimulatedFleet, caplog: pytest.LogCaptureFixture
) -> None:
    pool(1)
    snapshot = snapped(api, created(api, "v"), "s")
    fleet.nodes[0].lose(snapshot)
    check()
    assert "a node lost a snapshot" in caplog.text
    assert fleet.nodes[0].snapshots() == {}


def test_orphans_are_recorded_then_removed(api: Api, pool: Pool, fleet: SimulatedFleet) -> None:
    """The orphans are a snapshot, its volume and the namespace of the volume. They must be removed
    in the right order.
    """
    [node] = pool(1)
    snapshot = snapped(api, uuid := created(api, "v"), "s")
    published(api, uuid, probe_host(api))
    everything = {
        (node, "volume", uuid),
        (node, "snapshot", snapshot),
        (node, "namespace", uuid),
    }
    check()
    assert noted() == set()
    forget_all()
    check()
    assert noted() == everything
    grow_old(hours=23)
    check()
    assert noted() == everything
    grow_old()
    check()
    assert noted() == set()
    contents = (fleet.nodes[0].volumes(), fleet.nodes[0].snapshots(), fleet.nodes[0].engine.targets)
    assert contents == ({}, {}, {})


def forget_all() -> None:
    """Delete the rows, as if an operator had lost them."""
    Export.objects.all().delete()
    Publication.objects.all().delete()
    Snapshot.objects.all().delete()
    Replica.objects.all().delete()
    Volume.objects.all().delete()


@pytest.mark.parametrize("state", ["READY", "DELETING"])
def test_an_orphan_whose_name_is_in_a_row_is_never_removed(
    api: Api, pool: Pool, fleet: SimulatedFleet, state: str
) -> None:
    """It has the uuid of a row but another generation, and is on another node."""
    nodes = pool(2)
    uuid = created(api, "v")
    Replica.objects.update(state=state, deadline_at=timezone.now() + dt.timedelta(hours=1))
    index = 1 - nodes.index(str(Replica.objects.get().backend_id))
    stray_volume(nodes[index], uuid)
    check()
    grow_old()
    check()
    assert noted() == {(nodes[index], "volume", uuid)}
    assert list(fleet.nodes[index].volumes()) == [uuid]


def test_orphans_that_stay_do_not_use_up_the_removal_limit(
    api: Api, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = pool(2)
    monkeypatch.setattr(orphan_removal, "REMOVE_AT_MOST", 1)
    uuid = created(api, "v", uuid="a")
    [other] = set(nodes) - {str(Replica.objects.get().backend_id)}
    stray_volume(other, uuid)
    stray_volume(other, "b")
    check()
    grow_old()
    check()
    check()
    assert noted() == {(other, "volume", uuid)}


def test_the_row_of_an_orphan_that_is_gone_is_deleted(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    stray_volume(node, "orphan")
    check()
    assert noted() == {(node, "volume", "orphan")}
    fleet.nodes[0].lose("orphan")
    check()
    assert noted() == set()


def test_orphans_of_a_node_that_refuses_stay_recorded(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    stray_volume(node, "orphan")
    check()
    grow_old()
    fleet.nodes[0].faults.refuse(wire.RefusalCode.UNAVAILABLE, method="DELETE")
    check()
    assert noted() == {(node, "volume", "orphan")}
    check()
    assert noted() == set()
