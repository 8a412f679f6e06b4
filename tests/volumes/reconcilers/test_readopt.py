"""Replicas are readopted when their node comes back after a forced removal."""

import datetime as dt

import pytest
from django.utils import timezone

from inventory.models import Backend, Ssd
from inventory.nodes.engines.simulated import SimulatedFleet
from tests.api.snapshot_steps import consumed, snapped
from tests.api.volume_steps import GIB, HOST, created, probe_host, published, volume
from tests.conftest import Api
from tests.volumes.reconcilers.node_check_steps import (
    TWO,
    Pool,
    check,
    collect_overdue,
    noted,
    place,
)
from tests.volumes.reconcilers.readopt_steps import remove
from volumes.audit import audit
from volumes.models import Export, Orphan, Replica, Snapshot, Volume
from volumes.reconcilers.node_check import readopt
from volumes.services.publication.namespace_ids import TargetFull

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_only_replica_is_readopted_with_its_snapshots(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    desires = {"desiredIOPSPerGB": 10, "desiredBWPerGB": 100}
    uuid = created(api, "v", storageClass=desires)
    snapped(api, uuid, "s", reservedSpacePercentage=20)
    published(api, uuid, probe_host(api))
    used = list(Ssd.objects.order_by("ssd_id").values_list("ssd_id", "used_bytes"))
    claimed = Backend.objects.values_list("used_iops", "used_bw").get()
    budget = consumed(api)
    fleet.nodes[0].write(uuid, "data")
    remove(api, node)
    assert place(api, uuid)["replicaState"] == "Missing"
    assert pool(1) == [node]
    check()
    collect_overdue()
    assert place(api, uuid)["replicaState"] == "Unknown"
    assert place(api, uuid)["backend"] == {"persistentID": node}
    assert list(Ssd.objects.order_by("ssd_id").values_list("ssd_id", "used_bytes")) == used
    assert Backend.objects.values_list("used_iops", "used_bw").get() == claimed
    assert (consumed(api), fleet.nodes[0].read(uuid)) == (budget, "data")
    assert list(Export.objects.values_list("state", flat=True)) == ["READY"]
    check()
    assert (noted(), audit()) == (set(), [])
    assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "Success"
    assert api.delete(f"/snapshots/{Snapshot.objects.get().uuid}").status == "Success"
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    assert (fleet.nodes[0].volumes(), audit()) == ({}, [])


def test_a_host_that_was_unpublished_meanwhile_gets_no_access(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    """It could write to a volume that others use now, or that is being copied."""
    [node] = pool(1)
    uuid = created(api, "v")
    published(api, uuid, probe_host(api))
    remove(api, node)
    assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "Success"
    pool(1)
    check()
    assert place(api, uuid)["replicaState"] == "Unknown"
    check()
    assert (noted(), audit()) == (set(), [])
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    assert fleet.nodes[0].volumes() == {}


def test_an_export_gets_the_namespace_id_that_changed_meanwhile(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    nodes = pool(2)
    uuid = created(api, "v", storageClass=TWO)
    published(api, uuid, probe_host(api))
    remove(api, nodes[0])
    assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "Success"
    published(api, created(api, "takes-its-namespace-id"))
    published(api, uuid)
    pool_again(api, fleet)
    check()
    collect_overdue()
    assert set(Export.objects.values_list("state", flat=True)) == {"READY"}
    check()
    assert (noted(), audit()) == (set(), [])


def test_a_readopted_replica_of_several_stays_missing(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    nodes = pool(2)
    uuid = created(api, "v", storageClass=TWO)
    remove(api, nodes[0])
    pool_again(api, fleet)
    check()
    places = {p["backend"]["persistentID"]: p for p in volume(api, uuid)["location"]}
    assert places[nodes[0]]["replicaState"] == "Missing"
    assert places[nodes[1]]["replicaState"] == "Unknown"
    assert audit() == []


def pool_again(api: Api, fleet: SimulatedFleet) -> None:
    node = fleet.nodes[0]
    answer = api.post("/backends", {"mgmtIPs": [node.address], "mgmtPort": node.port})
    assert answer.status == "Success", answer


def test_a_replica_whose_space_is_taken_is_not_readopted(
    api: Api, pool: Pool, fleet: SimulatedFleet, caplog: pytest.LogCaptureFixture
) -> None:
    [node] = pool(1)
    uuid = created(api, "v")
    remove(api, node)
    pool(1)
    Ssd.objects.update(used_bytes=2**40)
    check()
    [replica] = Replica.objects.all()
    assert (replica.backend_id, replica.replica_state, replica.sub_volumes.count()) == (
        None,
        "Missing",
        0,
    )
    assert "a replica cannot be readopted" in caplog.text
    assert uuid in fleet.nodes[0].volumes()
    assert noted() == set()
    Ssd.objects.update(used_bytes=0)
    check()
    assert audit() == []


def test_a_replica_whose_target_is_full_does_not_stop_the_check(
    api: Api, pool: Pool, fleet: SimulatedFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = pool(2)
    full, other = created(api, "full", storageClass=TWO), created(api, "other", storageClass=TWO)
    published(api, full, probe_host(api))
    remove(api, nodes[0])
    pool_again(api, fleet)

    def is_full(row: Volume) -> None:
        if row.uuid == full:
            raise TargetFull("1024 namespaces")

    monkeypatch.setattr(readopt, "record_desired_exports_for_all_hosts", is_full)
    check()
    without = Replica.objects.filter(backend=None)
    assert [replica.volume.uuid for replica in without] == [full]
    assert Replica.objects.filter(volume__uuid=other, backend=nodes[0]).exists()
    assert Backend.objects.get(pk=nodes[0]).checked_at, "all steps were done"
    monkeypatch.undo()
    check()
    assert not without.all().exists()
    collect_overdue()
    assert audit() == []


def test_a_replica_that_was_replaced_meanwhile_is_an_orphan(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    nodes = pool(3)
    uuid = created(api, "v", storageClass=TWO)
    gone = place(api, uuid)
    node = gone["backend"]["persistentID"]  # type: ignore[index]
    remove(api, node)
    Replica.objects.filter(uuid=gone["uuid"]).delete()
    Replica.objects.update(replica_state="Available")
    index = nodes.index(node)
    again = fleet.nodes[index]
    api.post("/backends", {"mgmtIPs": [again.address], "mgmtPort": again.port})
    check()
    assert noted() == {(node, "volume", gone["uuid"])}


def test_an_expansion_that_the_node_missed_is_completed(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    """The expansion was claimed when the node was removed, and ended without the node."""
    [node] = pool(1)
    uuid = created(api, "v")
    fleet.nodes[0].faults.go_down()
    assert api.patch(f"/volumes/{uuid}", {"newCapacity": 15}).status == "NotAvailable"
    remove(api, node)
    fleet.nodes[0].faults.come_up()
    collect_overdue()
    assert volume(api, uuid)["capacity"] == 15 * GIB
    pool(1)
    check()
    collect_overdue()
    assert fleet.nodes[0].volumes()[uuid].capacity == 15 * GIB
    assert Volume.objects.get().expanding_to_bytes is None
    assert audit() == []


def test_a_volume_that_was_deleted_meanwhile_is_an_orphan(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    uuid = created(api, "v")
    remove(api, node)
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    pool(1)
    check()
    assert noted() == {(node, "volume", uuid)}
    Orphan.objects.update(first_seen_at=timezone.now() - dt.timedelta(hours=25))
    check()
    assert (fleet.nodes[0].volumes(), noted(), audit()) == ({}, set(), [])
