"""Clones over HTTP: every documented result code; a clone is independent of its source."""

from collections.abc import Callable

import pytest

from inventory.models import Backend, Ssd
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.nodes.wire import SourceKind
from tests.api.snapshot_steps import (
    clone,
    cloned,
    consumed,
    created_snapshot_volume,
    snap,
    snapped,
    tenant,
)
from tests.api.volume_steps import GIB, created, probe_host, published, volume
from tests.conftest import Api
from volumes.audit import audit
from volumes.models import Replica, Volume

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


def ssds(uuid: str) -> list[str]:
    return [p.ssd.ssd_id for p in Replica.objects.get(uuid=uuid).sub_volumes.all()]


def test_a_clone_is_a_thin_volume_on_the_ssds_of_its_source(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    nodes = pool(3)
    wish = {"maxIOPSPerGB": 3, "desiredIOPSPerGB": 2, "name": "gold", "blockSize": 512}
    source = created(api, "v", capacity=100, storageClass=wish)
    answer = clone(api, source, "c", volumeId="c-1", reservedSpacePercentage=30)
    assert (answer.body["persistentId"], set(answer.body)) == (
        "c-1",
        {"status", "description", "persistentId"},
    )
    shown = volume(api, "c-1")
    node = volume(api, source)["location"][0]["backend"]
    assert shown["location"][0]["backend"] == node
    assert ssds("c-1") == ssds(source)
    expected = {
        "capacity": 100 * GIB,
        "provisioningType": "THIN",
        "reservedSpace": 30 * GIB,
        "maxIOPS": 300,
        "desiredIOPS": 0,
        "blockSize": "512B",
        "storageClassName": "gold",
        "numReplicas": 1,
        "tenantId": "0",
    }
    assert {name: shown[name] for name in expected} == expected
    assert not {"snapshotID", "writable"} & set(shown)
    spec = fleet.nodes[nodes.index(node["persistentID"])].volumes()["c-1"]
    assert spec.source is not None
    assert (spec.source.kind, spec.source.uuid) == (SourceKind.CLONE_OF_VOLUME, source)
    assert consumed(api) == 130
    assert audit() == []


OF_ITS_OWN = {
    "id",
    "uuid",
    "alias",
    "cloned_from",
    "created_at",
    "idempotency_digest",
    "capacity_bytes",
    "claimed_bytes",
    "reserved_space_percentage",
    "provisioning_type",
    "replicable",
    "desired_iops_per_gb",
    "desired_bw_per_gb",
    "share_ssd",
    "snapshot",
    "writable",
}
"""Columns of a clone that its source does not decide."""


def test_a_clone_has_all_other_properties_of_its_source(api: Api, pool: Pool) -> None:
    pool(1)
    source = created(api, "v", storageClass={"blockSize": 512})
    Volume.objects.update(
        max_iops_per_gb=3,
        max_bw_per_gb=4,
        max_replica_down_minutes=7,
        allow_span=True,
        storage_class_name="gold",
        same_rack_allowed=True,
        racks=["r1", "r9"],
        zones=["z1"],
        regions=["west"],
        host_id="h",
        protocol="Local",
        # no clone has these
        desired_iops_per_gb=5,
        desired_bw_per_gb=6,
        share_ssd=False,
        replicable=True,
    )
    uuid = cloned(api, source, "c")
    row, clone_row = (Volume.objects.get(uuid=one) for one in (source, uuid))
    same = {field.name for field in Volume._meta.concrete_fields} - OF_ITS_OWN
    assert {name: getattr(clone_row, name) for name in same} == {
        name: getattr(row, name) for name in same
    }
    reserves = clone_row.desired_iops_per_gb, clone_row.desired_bw_per_gb
    assert (reserves, clone_row.share_ssd, clone_row.replicable) == ((0, 0), True, False)


@pytest.mark.parametrize(
    ("capacity", "percent", "reserved"),
    [
        (None, None, 20),
        (500, None, 50),
        ("500", 0, 50),
        (500, 1, 20),
        (2000, 1, 40),
        (100, 100, 100),
    ],
)
def test_a_clone_has_the_requested_capacity_and_reserved_space(
    api: Api, pool: Pool, capacity: object, percent: int | None, reserved: int
) -> None:
    pool(1)
    source = created(api, "v", capacity=100)
    uuid = cloned(api, source, "c", capacity=capacity, reservedSpacePercentage=percent)
    shown = volume(api, uuid)
    assert shown["capacity"] == int(str(capacity or 100)) * GIB
    assert shown["reservedSpace"] == reserved * GIB
    assert audit() == []


def test_a_clone_smaller_than_its_source_is_refused(api: Api, pool: Pool) -> None:
    pool(1)
    answer = clone(api, created(api, "v"), "c", capacity=9)
    assert (answer.http, answer.status) == (200, "InvalidSize")
    assert answer.description == "capacity = 9: must be at least the source's 10 GiB"


def test_a_clone_is_independent_of_its_source(api: Api, pool: Pool) -> None:
    pool(1)
    source = created(api, "v")
    uuid = cloned(api, source, "c", capacity=20)
    assert api.delete(f"/volumes/{source}").status == "Success"
    published(api, uuid, probe_host(api))
    assert api.patch(f"/volumes/{uuid}", {"newCapacity": 40}).status == "Success"
    assert volume(api, uuid)["reservedSpace"] == 20 * GIB
    snapped(api, uuid, "s")
    assert audit() == []
    again = created(api, "v", uuid=source)
    assert api.patch(f"/volumes/{uuid}", {"newCapacity": 50}).status == "Success"
    assert api.delete(f"/volumes/{again}").status == "Success"
    assert audit() == []


def test_snapshot_volumes_and_clones_can_be_cloned(api: Api, pool: Pool) -> None:
    pool(1)
    made = snapped(api, created(api, "v"), "s")
    shown = created_snapshot_volume(api, made, "sv")
    uuid = cloned(api, shown, "c")
    assert api.delete(f"/volumes/{shown}").status == "Success"
    assert api.delete(f"/snapshots/{made}").status == "Success"
    cloned(api, uuid, "cc", capacity=12)
    assert audit() == []


def test_a_clone_of_an_exclusive_class_may_share_its_ssd(api: Api, pool: Pool) -> None:
    pool(1)
    alone = {"name": "gold", "shareSSDBetweenVolumes": False}
    uuid = cloned(api, created(api, "v", storageClass=alone), "c")
    assert volume(api, uuid)["shareSSDBetweenVolumes"] is True
    assert audit() == []


def test_a_clone_of_an_unknown_or_replicated_volume_is_refused(api: Api, pool: Pool) -> None:
    pool(2)
    assert clone(api, "none", "c").status == "NotExists"
    source = created(api, "v", storageClass={"numReplicas": 2})
    assert clone(api, source, "c").status == "Replicated"
    assert Volume.objects.count() == 1


def test_a_uuid_or_alias_of_another_volume_is_refused(api: Api, pool: Pool) -> None:
    pool(1)
    source = created(api, "v")
    answer = clone(api, source, "v")
    assert (answer.status, answer.description) == (
        "AlreadyExists",
        "a volume with the alias 'v' already exists",
    )
    assert clone(api, source, "c", volumeId=source).status == "AlreadyExists"
    assert snap(api, source, "c").status == "Success"
    cloned(api, source, "c")


def test_a_clone_is_refused_without_budget_or_space(api: Api, pool: Pool) -> None:
    pool(1)
    tenant(api, "t1", 25)
    source = created(api, "v", "/t1/volumes")
    assert clone(api, source, "c", capacity=16).status == "TenantCapacityExceeded"
    for ssd in Ssd.objects.all():
        Ssd.objects.filter(pk=ssd.pk).update(used_bytes=ssd.capacity_bytes)
    assert clone(api, source, "c").status == "NoFreeSpace"
    assert (Volume.objects.count(), consumed(api, "t1")) == (1, 10)


def test_tenants_clone_only_their_volumes(api: Api, pool: Pool) -> None:
    pool(1)
    tenant(api, "t1")
    mine, theirs = created(api, "v"), created(api, "v", "/t1/volumes")
    assert clone(api, mine, "c", "/t1/clone_volume").status == "NotExists"
    assert clone(api, mine, "c", tenantId="t1").status == "NotExists"
    assert clone(api, mine, "c", "/nobody/clone_volume").status == "TenantNotFound"
    bound = api.as_role("STORAGE", tenant="t1")
    assert clone(bound, mine, "c").status == "NotExists"
    assert volume(api, cloned(bound, theirs, "c"))["tenantId"] == "t1"
    assert volume(api, cloned(api, theirs, "d", "/t1/clone_volume"))["tenantId"] == "t1"


def test_a_limited_clone_needs_a_node_that_limits(api: Api, pool: Pool) -> None:
    """A clone is placed where its source is, so no other node can be chosen."""
    pool(1)
    limited = created(api, "v", storageClass={"maxIOPSPerGB": 5})
    free = created(api, "w")
    Backend.objects.update(enforces_limits=False)
    answer = clone(api, limited, "c")
    assert (answer.http, answer.status) == (400, "InvalidInput")
    assert "maxIOPSPerGB = 5: node " in answer.body["description"]
    assert cloned(api, free, "d")


def test_wrong_fields_are_refused(api: Api, pool: Pool) -> None:
    pool(1)
    source = created(api, "v", storageClass={"maxBWPerGB": 2**50})
    for fields, words in (
        ({"alias": None}, "alias = None: "),
        ({"sourceVolumeId": "a b"}, "sourceVolumeId = 'a b': "),
        ({"volumeId": "a/b"}, "volumeId = 'a/b': "),
        ({"capacity": 0}, "capacity = 0: "),
        ({"capacity": 2**63}, "capacity = 9223372036854775808: "),
        ({"capacity": 2**20}, "maxBWPerGB = 1125899906842624: times capacity is too large"),
        ({"reservedSpacePercentage": 101}, "reservedSpacePercentage = 101: "),
    ):
        answer = clone(api, source, "c", **fields)
        assert (answer.http, answer.status) == (400, "InvalidInput"), fields
        assert words in answer.description
