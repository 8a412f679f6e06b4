"""Snapshot volumes over HTTP: every documented result code; they are published like any volume."""

from collections.abc import Callable

import pytest

from inventory.models import Backend, Ssd
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.nodes.wire import SourceKind
from tests.api.snapshot_steps import (
    consumed,
    create_snapshot_volume,
    created_snapshot_volume,
    snap,
    snapped,
    tenant,
)
from tests.api.volume_steps import GIB, created, probe_host, published, volume
from tests.conftest import Api
from volumes.audit import audit
from volumes.models import Volume

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


def test_a_writable_snapshot_volume_is_shown_as_the_reference_says(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    parent = created(api, "v", capacity=500, storageClass={"blockSize": 512})
    made = snapped(api, parent, "s")
    wish = {"writable": True, "maxIOPSPerGB": 100, "maxBWPerGB": 2000, "storageClassName": "sc1"}
    answer = create_snapshot_volume(
        api, made, "sv", volumeID="new-1", reservedSpacePercentage=20, **wish
    )
    assert set(answer.body) == {"status", "description", "persistentId"}
    shown = volume(api, "new-1")
    [location] = shown.pop("location")
    assert location.pop("currentStateTime") >= 0
    assert location == {
        "uuid": "new-1",
        "backend": {"persistentID": node},
        "replicaState": "Unknown",
        "inUse": False,
    }
    assert shown == {
        "alias": "sv",
        "uuid": "new-1",
        "capacity": 500 * GIB,
        "provisioningType": "OTHER",
        "snapshotID": made,
        "writable": True,
        "reservedSpace": 100 * GIB,
        "numReplicas": 1,
        "replicable": False,
        "maxIOPS": 50_000,
        "desiredIOPS": 0,
        "maxBW": 1_000_000,
        "desiredBW": 0,
        "blockSize": "512B",
        "maxReplicaDownTime": 0,
        "tenantId": "0",
        "protocol": "NVMeoF",
        "allowSpan": True,
        "storageClassName": "sc1",
        "health": "Healthy",
        "shareSSDBetweenVolumes": True,
        "inUse": False,
    }
    spec = fleet.nodes[0].volumes()["new-1"]
    assert spec.source is not None
    assert (spec.source.kind, spec.source.uuid) == (SourceKind.WRITABLE_SNAPSHOT_VOLUME, made)
    assert consumed(api) == 500 + 50 + 100
    assert audit() == []


def test_a_read_only_snapshot_volume_reserves_nothing(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    made = snapped(api, created(api, "v"), "s")
    before = consumed(api)
    uuid = created_snapshot_volume(
        api, made, "sv", "/0/snapshot_volume", reservedSpacePercentage=50
    )
    shown = volume(api, uuid)
    assert (shown["writable"], shown["reservedSpace"], consumed(api)) == (False, 0, before)
    source = fleet.nodes[0].volumes()[uuid].source
    assert source is not None
    assert source.kind is SourceKind.READ_ONLY_SNAPSHOT_VOLUME
    grow = api.patch(f"/volumes/{uuid}", {"newCapacity": 20})
    assert (grow.status, "cannot be expanded" in grow.description) == ("InvalidSize", True)
    refused = snap(api, uuid, "s2")
    assert (refused.http, refused.status) == (400, "InvalidInput")
    assert audit() == []


def test_a_writable_snapshot_volume_can_be_expanded_and_snapshotted(api: Api, pool: Pool) -> None:
    pool(1)
    made = snapped(api, created(api, "v"), "s")
    uuid = created_snapshot_volume(api, made, "sv", writable=True)
    assert api.patch(f"/volumes/{uuid}", {"newCapacity": 30}).status == "Success"
    assert volume(api, uuid)["reservedSpace"] == 20 * GIB
    inner = snapped(api, uuid, "s2")
    assert api.delete(f"/volumes/{uuid}").status == "VolumeIsInUse"
    assert api.delete(f"/snapshots/{inner}").status == "Success"
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    assert audit() == []


def test_a_snapshot_volume_is_published_and_unpublished_like_others(api: Api, pool: Pool) -> None:
    pool(1)
    made = snapped(api, created(api, "v"), "s")
    uuid = created_snapshot_volume(api, made, "sv")
    published(api, uuid, probe_host(api))
    assert volume(api, uuid)["inUse"] is True
    assert api.delete(f"/volumes/{uuid}").status == "VolumeIsInUse"
    assert audit() == []
    assert api.post("/unpublish", {"volId": uuid}).status == "Success"
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    assert audit() == []


def test_an_unknown_snapshot_is_refused(api: Api, pool: Pool) -> None:
    pool(1)
    answer = create_snapshot_volume(api, "none", "sv")
    assert (answer.http, answer.status) == (200, "NotExists")


def test_a_second_snapshot_volume_and_a_taken_name_are_refused(api: Api, pool: Pool) -> None:
    pool(1)
    parent = created(api, "v")
    made, other = snapped(api, parent, "s"), snapped(api, parent, "s2")
    uuid = created_snapshot_volume(api, made, "sv")
    again = create_snapshot_volume(api, made, "sv2")
    assert (again.status, again.description) == (
        "AlreadyExists",
        f"snapshot '{made}' already has the volume '{uuid}'",
    )
    assert (
        create_snapshot_volume(api, other, "sv").description
        == "a volume with the alias 'sv' already exists"
    )
    same = create_snapshot_volume(api, other, "sv3", volumeID=uuid)
    assert same.description == f"a volume with the uuid '{uuid}' already exists"
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    assert created_snapshot_volume(api, made, "sv", volumeID=uuid) == uuid
    assert audit() == []


def test_a_writable_snapshot_volume_is_refused_without_budget_or_space(
    api: Api, pool: Pool
) -> None:
    pool(1)
    tenant(api, "t1", 25)
    made = snapped(api, created(api, "v", "/t1/volumes"), "s")
    assert create_snapshot_volume(api, made, "sv", writable=True).status == "TenantCapacityExceeded"
    assert api.put("/tenants/t1", {"capacity": 0, "totalIOPS": 0, "totalBW": 0}).status == "Success"
    for ssd in Ssd.objects.all():
        Ssd.objects.filter(pk=ssd.pk).update(used_bytes=ssd.capacity_bytes)
    assert create_snapshot_volume(api, made, "sv", writable=True).status == "NoFreeSpace"
    assert Volume.objects.count() == 1
    assert consumed(api, "t1") == 20
    created_snapshot_volume(api, made, "sv")


def test_tenants_use_only_their_snapshots(api: Api, pool: Pool) -> None:
    pool(1)
    tenant(api, "t1")
    mine = snapped(api, created(api, "v"), "s")
    theirs = snapped(api, created(api, "v", "/t1/volumes"), "s")
    assert create_snapshot_volume(api, mine, "sv", "/t1/snapshot_volumes").status == "NotExists"
    assert create_snapshot_volume(api, mine, "sv", tenantId="t1").status == "NotExists"
    assert (
        create_snapshot_volume(api, mine, "sv", "/nobody/snapshot_volume").status
        == "TenantNotFound"
    )
    bound = api.as_role("STORAGE", tenant="t1")
    assert create_snapshot_volume(bound, mine, "sv").status == "NotExists"
    assert volume(api, created_snapshot_volume(bound, theirs, "sv"))["tenantId"] == "t1"


def test_wrong_fields_are_refused(api: Api, pool: Pool) -> None:
    pool(1)
    made = snapped(api, created(api, "v"), "s")
    for fields, words in (
        ({"alias": "a/b"}, "alias = 'a/b': "),
        ({"snapshotID": None}, "snapshotID = None: "),
        ({"volumeID": "a b"}, "volumeID = 'a b': "),
        ({"writable": "perhaps"}, "writable = 'perhaps': "),
        ({"protocol": "iSCSI"}, "protocol = 'iSCSI': "),
        ({"reservedSpacePercentage": 101}, "reservedSpacePercentage = 101: "),
        ({"maxIOPSPerGB": 2**62}, "maxIOPSPerGB = 4611686018427387904: times capacity is too"),
        ({"maxBWPerGB": -1}, "maxBWPerGB = -1: "),
        (
            {"protocol": "Local"},
            "protocol = 'Local': the snapshot's node does not run inside a host",
        ),
    ):
        answer = create_snapshot_volume(api, made, "sv", **fields)
        assert (answer.http, answer.status) == (400, "InvalidInput"), fields
        assert words in answer.description
    assert Volume.objects.count() == 1


def test_local_snapshot_volumes_are_published_to_the_host_of_the_node(api: Api, pool: Pool) -> None:
    [node] = pool(1)
    made = snapped(api, created(api, "v"), "s")
    host = probe_host(api)
    assert api.put(f"/backends/{node}", {"hostId": host}).status == "Success"
    uuid = created_snapshot_volume(api, made, "sv", protocol="local", allowSpan=False)
    assert (volume(api, uuid)["protocol"], volume(api, uuid)["allowSpan"]) == ("Local", False)
    published(api, uuid, host)


def test_a_snapshot_volume_is_refused_while_its_node_is_unavailable(api: Api, pool: Pool) -> None:
    [node] = pool(1)
    made = snapped(api, created(api, "v"), "s")
    Backend.objects.filter(pk=node).update(available_until="2000-01-01T00:00:00Z")
    assert create_snapshot_volume(api, made, "sv").status == "NotAvailable"
    assert Volume.objects.count() == 1


def test_metrics_label_derived_volumes_as_snapshot_or_clone(api: Api, pool: Pool) -> None:
    pool(1)
    parent = created(api, "v")
    created_snapshot_volume(api, snapped(api, parent, "s"), "sv")
    api.post("/clone_volume", {"sourceVolumeId": parent, "alias": "c"})
    text = api.get("/metrics").body
    lines = [line for line in text.splitlines() if line.startswith("ks_vol_capacity_bytes{")]
    derived = [line for line in lines if 'provisioningType="Snapshot/Clone"' in line]
    assert (len(lines), len(derived)) == (3, 2)
