"""Snapshots over HTTP: every operation and documented result code."""

import time
from collections.abc import Callable

import pytest

from inventory.models import Backend, Ssd
from inventory.nodes.engines.simulated import SimulatedFleet
from tests.api.snapshot_steps import (
    consumed,
    created_snapshot_volume,
    snap,
    snapped,
    snapshot,
    tenant,
)
from tests.api.volume_steps import GIB, created, probe_host, published, volume
from tests.conftest import Api
from volumes.audit import audit
from volumes.models import Snapshot

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
TOLERANCE_MS = 1000
"""Of the clocks of the database and of this machine."""


def test_a_snapshot_is_on_its_node_and_shown_as_the_reference_says(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    uuid = created(api, "v", capacity=500)
    before = int(time.time() * 1000)
    answer = snap(api, uuid, "TestSnap3", snapshotID="s-1", reservedSpacePercentage=10)
    assert answer.body == {
        "status": "Success",
        "description": answer.description,
        "persistentId": "s-1",
    }
    shown = snapshot(api, "s-1")
    at = shown.pop("timestamp")
    assert before - TOLERANCE_MS <= at <= time.time() * 1000 + TOLERANCE_MS
    assert shown == {
        "alias": "TestSnap3",
        "volumeID": uuid,
        "snapshotID": "s-1",
        "replicaID": uuid,
        "reservedSpacePercentage": 10,
        "reservedSpace": 50 * GIB,
        "capacity": 500 * GIB,
        "tenantId": "0",
    }
    spec = fleet.nodes[0].snapshots()["s-1"]
    [piece] = spec.pieces
    assert (spec.volume_uuid, piece.capacity, piece.allocated) == (uuid, 500 * GIB, 50 * GIB)
    [backend] = api.get(f"/backends/{node}").body
    assert backend["totalCapacity"] - backend["availableCapacity"] == 550 * GIB
    assert consumed(api) == 550
    assert audit() == []


@pytest.mark.parametrize(
    ("capacity", "given", "percent", "reserved"),
    [
        (10, 0, 100, 10),
        (100, None, 20, 20),
        (500, None, 10, 50),
        (1000, 1, 1, 20),
        (30, 90, 90, 27),
    ],
)
def test_a_snapshot_reserves_the_requested_share_within_its_limits(
    api: Api, pool: Pool, capacity: int, given: int | None, percent: int, reserved: int
) -> None:
    pool(1)
    uuid = snapped(api, created(api, "v", capacity=capacity), "s", reservedSpacePercentage=given)
    shown = snapshot(api, uuid)
    assert (shown["reservedSpacePercentage"], shown["reservedSpace"]) == (percent, reserved * GIB)
    assert consumed(api) == capacity + reserved


def test_a_snapshot_of_a_volume_that_spans_ssds(api: Api, pool: Pool) -> None:
    pool(1)
    [backend] = api.get("/backends").body
    per_ssd = backend["totalCapacity"] // backend["numberOfSSDs"] // GIB
    wish = {"provisioningType": "THIN", "reservedSpacePercentage": 100}
    fill = [created(api, f"f{n}", capacity=per_ssd - 300) for n in range(backend["numberOfSSDs"])]
    uuid = created(api, "v", capacity=500, storageClass={"allowSpan": True}, **wish)
    for other in fill:
        api.delete(f"/volumes/{other}")
    row = Snapshot.objects.get(uuid=snapped(api, uuid, "s"))
    pieces = [(p.capacity_bytes // GIB, p.claimed_bytes // GIB) for p in row.sub_volumes.all()]
    assert pieces == [(300, 30), (200, 20)]
    assert audit() == []


def test_wrong_fields_are_refused(api: Api, pool: Pool) -> None:
    pool(1)
    uuid = created(api, "v")
    for fields, words in (
        ({"alias": None}, "alias = None: "),
        ({"alias": "a/b"}, "alias = 'a/b': "),
        ({"volumeID": None}, "volumeID = None: "),
        ({"snapshotID": "a b"}, "snapshotID = 'a b': "),
        ({"reservedSpacePercentage": 101}, "reservedSpacePercentage = 101: "),
        ({"reservedSpacePercentage": "x"}, "reservedSpacePercentage = 'x': "),
    ):
        answer = snap(api, uuid, "s", **fields)
        assert (answer.http, answer.status) == (400, "InvalidInput"), fields
        assert words in answer.description
    assert api.get("/snapshots").body == []


def test_uuid_and_alias_are_taken_once(api: Api, pool: Pool) -> None:
    pool(1)
    uuid = created(api, "same")
    assert snapped(api, uuid, "same", snapshotID=uuid) == uuid
    again = snap(api, uuid, "other", snapshotID=uuid)
    assert (again.status, again.description) == (
        "AlreadyExists",
        f"a snapshot with the uuid '{uuid}' already exists",
    )
    assert snap(api, uuid, "same").description == "a snapshot with the alias 'same' already exists"
    assert created(api, "third") != uuid
    assert audit() == []


def test_a_snapshot_of_an_unknown_volume_is_refused(api: Api, pool: Pool) -> None:
    pool(1)
    assert snap(api, "none", "s").status == "NotExists"


def test_a_snapshot_of_a_replicated_volume_is_refused(api: Api, pool: Pool) -> None:
    pool(2)
    answer = snap(api, created(api, "v", storageClass={"numReplicas": 2}), "s")
    assert (answer.http, answer.status) == (200, "Replicated")


def test_a_snapshot_of_a_published_thin_volume_can_be_taken(api: Api, pool: Pool) -> None:
    pool(1)
    uuid = created(api, "v", provisioningType="THIN")
    published(api, uuid, probe_host(api))
    snapped(api, uuid, "s")
    assert audit() == []


def test_a_snapshot_is_refused_if_its_ssd_is_full(api: Api, pool: Pool) -> None:
    pool(1)
    uuid = created(api, "v")
    for ssd in Ssd.objects.all():
        Ssd.objects.filter(pk=ssd.pk).update(used_bytes=ssd.capacity_bytes)
    answer = snap(api, uuid, "s")
    assert (answer.status, api.get("/snapshots").body) == ("NoFreeSpace", [])
    assert consumed(api) == 10


def test_a_snapshot_is_refused_if_the_node_reports_no_space(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    uuid = created(api, "v")
    fleet.nodes[0].faults.fill_up()
    assert snap(api, uuid, "s").status == "NoFreeSpace"


def test_a_snapshot_is_refused_while_its_node_is_unavailable(api: Api, pool: Pool) -> None:
    [node] = pool(1)
    uuid = created(api, "v")
    Backend.objects.filter(pk=node).update(available_until="2000-01-01T00:00:00Z")
    assert snap(api, uuid, "s").status == "NotAvailable"
    assert Snapshot.objects.count() == 0


def test_a_snapshot_beyond_the_budget_is_refused(api: Api, pool: Pool) -> None:
    pool(1)
    tenant(api, "t1", 25)
    uuid = created(api, "v", "/t1/volumes")
    snapped(api, uuid, "s1", "/t1/snapshots")
    answer = snap(api, uuid, "s2", "/t1/snapshots")
    assert answer.status == "TenantCapacityExceeded"
    assert answer.description == (
        "tenant 't1' has a budget of 25 GiB, of which 20 GiB are used; "
        "the request needs 10 GiB more for all replicas"
    )
    assert consumed(api, "t1") == 20
    assert audit() == []


def test_tenants_see_only_their_snapshots(api: Api, pool: Pool) -> None:
    pool(1)
    tenant(api, "t1")
    mine, theirs = created(api, "v"), created(api, "v", "/t1/volumes")
    first, second = snapped(api, mine, "s"), snapped(api, theirs, "s")
    assert snapshot(api, second)["tenantId"] == "t1"
    assert {row["snapshotID"] for row in api.get("/snapshots_by_alias/s").body} == {first, second}
    assert [row["snapshotID"] for row in api.get("/t1/snapshots").body] == [second]
    assert api.get(f"/t1/snapshots/{first}").body == []
    assert api.get(f"/t1/snapshots_by_vol/{mine}").body == []
    assert api.delete(f"/t1/snapshots/{first}").status == "NotExists"
    assert snap(api, mine, "x", "/t1/snapshots").status == "NotExists"
    assert snap(api, mine, "x", tenantId="t1").status == "NotExists"
    bound = api.as_role("STORAGE", tenant="t1")
    assert [row["snapshotID"] for row in bound.get("/snapshots").body] == [second]
    assert snap(bound, mine, "x").status == "NotExists"
    assert snap(bound, theirs, "x", tenantId="0").status == "TenantNotFound"
    assert bound.delete(f"/snapshots/{first}").status == "NotExists"


def test_an_unknown_tenant_is_refused_by_each_operation(api: Api, pool: Pool) -> None:
    pool(1)
    uuid = created(api, "v")
    made = snapped(api, uuid, "s")
    for answer in (
        snap(api, uuid, "t", "/nobody/snapshots"),
        snap(api, uuid, "t", tenantId="nobody"),
        api.get("/nobody/snapshots"),
        api.get(f"/nobody/snapshots/{made}"),
        api.get(f"/nobody/snapshots_by_vol/{uuid}"),
        api.get("/nobody/snapshots_by_alias/s"),
        api.delete(f"/nobody/snapshots/{made}"),
    ):
        assert (answer.http, answer.status) == (200, "TenantNotFound"), answer


def test_snapshots_are_listed_by_volume_and_alias_page_by_page(api: Api, pool: Pool) -> None:
    pool(1)
    one, two = created(api, "v1"), created(api, "v2")
    uuids = sorted(snapped(api, one, f"s{n}") for n in range(4))
    other = snapped(api, two, "other")
    everything = sorted([*uuids, other])

    def ids(path: str, **query: object) -> list[str]:
        return [row["snapshotID"] for row in api.get(path, **query).body]

    assert ids("/snapshots") == everything
    assert ids("/snapshots", limit=2, Offset=1) == everything[1:3]
    assert ids("/0/snapshots", limit=2, marker=everything[1]) == everything[2:4]
    assert ids(f"/snapshots_by_vol/{one}") == uuids
    assert ids(f"/snapshots_by_vol/{one}/", limit=1, marker=uuids[2]) == uuids[3:]
    assert ids("/snapshots_by_vol/none") == []
    assert ids("/snapshots_by_alias/other") == [other]
    assert ids("/snapshots_by_alias/none") == []
    assert ids(f"/0/snapshots/{other}") == [other]
    assert ids("/snapshots/none") == []
    assert api.get("/snapshots", limit=0).http == 400


def test_deleting_a_snapshot_frees_its_space(api: Api, pool: Pool, fleet: SimulatedFleet) -> None:
    pool(1)
    uuid = created(api, "v")
    made = snapped(api, uuid, "s")
    assert api.delete(f"/snapshots/{made}/").status == "Success"
    assert api.get(f"/snapshots/{made}").body == []
    assert (fleet.nodes[0].snapshots(), consumed(api)) == ({}, 10)
    assert api.delete(f"/snapshots/{made}").status == "NotExists"
    assert snapped(api, uuid, "s", snapshotID=made) == made
    assert audit() == []


def test_a_snapshot_volume_its_snapshot_and_volume_are_deleted_in_order(
    api: Api, pool: Pool
) -> None:
    pool(1)
    uuid = created(api, "v")
    made = snapped(api, uuid, "s")
    shown = created_snapshot_volume(api, made, "sv")
    refused = api.delete(f"/volumes/{uuid}")
    assert (refused.status, refused.description) == (
        "VolumeIsInUse",
        f"volume '{uuid}' has the snapshot '{made}': delete it first",
    )
    refused = api.delete(f"/snapshots/{made}")
    assert (refused.status, refused.description) == (
        "VolumeIsInUse",
        f"snapshot '{made}' has the snapshot volume '{shown}': delete it first",
    )
    for path in (f"/volumes/{shown}", f"/snapshots/{made}", f"/volumes/{uuid}"):
        assert api.delete(path).status == "Success"
    assert consumed(api) == 0
    assert audit() == []


def test_a_snapshot_stays_as_it_was_when_its_volume_is_expanded(api: Api, pool: Pool) -> None:
    pool(1)
    uuid = created(api, "v")
    made = snapped(api, uuid, "s")
    assert api.patch(f"/volumes/{uuid}", {"newCapacity": 30}).status == "Success"
    assert (volume(api, uuid)["capacity"], snapshot(api, made)["capacity"]) == (30 * GIB, 10 * GIB)
    assert volume(api, created_snapshot_volume(api, made, "sv"))["capacity"] == 10 * GIB
    assert snapshot(api, snapped(api, uuid, "s2"))["capacity"] == 30 * GIB
    assert audit() == []


def test_no_replica_is_added_to_a_volume_with_a_snapshot(api: Api, pool: Pool) -> None:
    pool(2)
    uuid = created(api, "v")
    snapped(api, uuid, "s")
    assert api.post(f"/replica/{uuid}", {}).status == "NotReplicated"


def test_snapshots_of_a_node_removed_by_force_can_be_deleted(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    uuid = created(api, "v")
    made = snapped(api, uuid, "s")
    shown = created_snapshot_volume(api, made, "sv")
    fleet.nodes[0].faults.go_down()
    Backend.objects.filter(pk=node).update(available_until="2000-01-01T00:00:00Z")
    assert api.delete(f"/backends/{node}", force=True).status == "Success"
    assert snapshot(api, made)["volumeID"] == uuid
    assert snap(api, uuid, "s2").status == "NotAvailable"
    for path in (f"/volumes/{shown}", f"/snapshots/{made}", f"/volumes/{uuid}"):
        assert api.delete(path).status == "Success"
    assert (Snapshot.objects.count(), consumed(api)) == (0, 0)
    assert audit() == []
