"""Volumes over HTTP: every operation and result code of "Volume Management" of this release."""

from collections.abc import Callable

import pytest

from inventory.nodes.engines.simulated import SimulatedFleet
from tests.api.volume_steps import GIB, create, created, volume
from tests.conftest import Api
from volumes.audit import audit

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


def test_a_thick_volume_is_on_its_node_and_shown_as_the_reference_says(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    uuid = created(
        api,
        "Vol1",
        uuid="0fdcb3b4-8b58-4cde-9d12-bb4ae7b36b8d",
        storageClass={"maxIOPSPerGB": 5, "desiredBWPerGB": 7, "name": "sc1", "blockSize": 512},
    )
    assert uuid == "0fdcb3b4-8b58-4cde-9d12-bb4ae7b36b8d"
    shown = volume(api, uuid)
    [location] = shown.pop("location")
    assert location.pop("currentStateTime") >= 0
    assert location == {
        "uuid": uuid,
        "backend": {"persistentID": node},
        "replicaState": "Unknown",
        "inUse": False,
    }
    assert shown == {
        "alias": "Vol1",
        "uuid": uuid,
        "capacity": 10 * GIB,
        "provisioningType": "THICK",
        "numReplicas": 1,
        "replicable": False,
        "maxIOPS": 50,
        "desiredIOPS": 0,
        "maxBW": 0,
        "desiredBW": 70,
        "blockSize": "512B",
        "maxReplicaDownTime": 0,
        "tenantId": "0",
        "protocol": "NVMeoF",
        "allowSpan": False,
        "storageClassName": "sc1",
        "shareSSDBetweenVolumes": True,
        "inUse": False,
        "health": "Healthy",
    }
    spec = fleet.nodes[0].volumes()[uuid]
    assert (spec.capacity, spec.block_size, spec.qos.max_iops) == (10 * GIB, 512, 50)
    assert audit() == []


def test_a_thin_volume_of_three_replicas_reserves_space_on_three_nodes(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    nodes = pool(3)
    uuid = created(
        api,
        "thin",
        capacity=500,
        provisioningType="THIN",
        reservedSpacePercentage=20,
        storageClass={"numReplicas": 3},
    )
    shown = volume(api, uuid)
    assert (shown["numReplicas"], shown["reservedSpace"], shown["replicable"]) == (
        3,
        100 * GIB,
        True,
    )
    assert sorted(place["backend"]["persistentID"] for place in shown["location"]) == sorted(nodes)
    for node in fleet.nodes[:3]:
        [spec] = node.volumes().values()
        assert (spec.provisioning_type, spec.capacity) == ("THIN", 500 * GIB)
        assert spec.pieces[0].allocated == 100 * GIB
    [backend] = api.get(f"/backends/{nodes[0]}").body
    assert backend["totalCapacity"] - backend["availableCapacity"] == 100 * GIB
    assert backend["numVolumes"] == 1
    assert audit() == []


def test_fields_are_read_leniently(api: Api, pool: Pool) -> None:
    pool(1)
    answer = api.post(
        "/volumes/",
        {
            " Alias ": "a",
            "CAPACITY": "20",
            "Protocol": "nvmeof",
            "uuid": None,
            "unknown": 1,
            "storageClass": {"NumReplicas": "1", "racks": [None], "hostId": None},
        },
    )
    assert answer.status == "Success", answer
    assert volume(api, answer.body["uuid"])["capacity"] == 20 * GIB


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"alias": None}, "alias = None: "),
        ({"alias": "a/b"}, "alias = 'a/b': must be 1 to 255 characters"),
        ({"alias": "x" * 256}, "alias = "),
        ({"capacity": 0}, "capacity = 0: "),
        ({"capacity": "ten"}, "capacity = 'ten': "),
        ({"capacity": 2**63}, "capacity = 9223372036854775808: "),
        ({"capacity": True}, "capacity = True: "),
        ({"uuid": "a b"}, "uuid = 'a b': must be 1 to 64 characters"),
        ({"provisioningType": "FAT"}, "provisioningType = 'FAT': must be one of THICK, THIN"),
        ({"protocol": "iSCSI"}, "protocol = 'iSCSI': must be one of NVMeoF, Local"),
        ({"reservedSpacePercentage": 101}, "reservedSpacePercentage = 101: "),
        ({"storageClass": []}, "storageClass = []: "),
        ({"storageClass": {"blockSize": 1024}}, "storageClass.blockSize = 1024: must be one of"),
        ({"storageClass": {"racks": "Dev"}}, "storageClass.racks = 'Dev': "),
        ({"storageClass": {"racks": ["a", 5, {}]}}, "storageClass.racks.2 = {}: "),
        ({"storageClass": {"allowSpan": "maybe"}}, "storageClass.allowSpan = 'maybe': "),
        (
            {"storageClass": {"shareSSDBetweenVolumes": False}},
            "storageClass.name = '': is required",
        ),
        ({"storageClass": {"maxIOPSPerGB": 2**62}}, "times capacity is too large"),
    ],
)
def test_bad_input_names_field_value_and_rule(
    api: Api, pool: Pool, fields: dict[str, object], words: str
) -> None:
    pool(1)
    answer = create(api, "v", **fields)
    assert (answer.http, answer.status) == (400, "InvalidInput")
    assert words in answer.description
    assert api.get("/volumes").body == []


def test_uuid_and_alias_are_taken_once(api: Api, pool: Pool) -> None:
    pool(1)
    uuid = created(api, "a")
    again = create(api, "b", uuid=uuid)
    assert (again.status, again.description) == (
        "AlreadyExists",
        f"a volume with the uuid '{uuid}' already exists",
    )
    assert create(api, "a").description == "a volume with the alias 'a' already exists"


def test_the_uuid_of_a_replica_is_taken(api: Api, pool: Pool) -> None:
    pool(2)
    uuid = created(api, "a", storageClass={"numReplicas": 2})
    replica = volume(api, uuid)["location"][0]["uuid"]
    answer = create(api, "b", uuid=replica)
    assert (answer.status, answer.description) == (
        "AlreadyExists",
        f"a replica of another volume has the uuid '{replica}'",
    )


def test_alias_is_free_for_another_tenant(api: Api, pool: Pool) -> None:
    pool(1)
    budget = {"name": "t", "capacity": 0, "totalIOPS": 0, "totalBW": 0, "tenantId": "t1"}
    assert api.post("/tenants", budget).status == "Success"
    first, second = created(api, "a"), created(api, "a", "/t1/volumes")
    assert [row["uuid"] for row in api.get("/t1/volumes_by_alias/a").body] == [second]
    both = api.get("/volumes_by_alias/a").body
    assert [row["uuid"] for row in both] == sorted([first, second])


@pytest.mark.parametrize("replicas", [-1, 0, 4])
def test_a_number_of_replicas_beyond_1_to_3_is_refused(api: Api, pool: Pool, replicas: int) -> None:
    pool(1)
    answer = create(api, "v", storageClass={"numReplicas": replicas})
    assert (answer.http, answer.status) == (200, "InvalidReplicas")
    assert answer.description == f"numReplicas = {replicas}: must be 1 to 3"


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({"numReplicas": 1}, False),
        ({"numReplicas": 2}, True),
        ({"numReplicas": 2, "replicable": True}, True),
        ({"numReplicas": 1, "replicable": True}, True),
        ({"numReplicas": 1, "replicable": False}, False),
    ],
)
def test_replicable_is_shown_as_requested(
    api: Api, pool: Pool, asked: dict[str, object], shown: bool
) -> None:
    pool(2)
    answer = create(api, "v", storageClass=asked)
    assert "ignoredFields" not in answer.body
    assert volume(api, answer.body["uuid"])["replicable"] is shown


def test_several_replicas_are_replicable(api: Api, pool: Pool) -> None:
    pool(2)
    answer = create(api, "v", storageClass={"numReplicas": 2, "replicable": False})
    assert (answer.http, answer.status) == (400, "InvalidInput")
    assert answer.description == (
        "storageClass.replicable = False: must be true for several replicas"
    )


def test_a_create_that_fits_no_node_says_why(api: Api, pool: Pool) -> None:
    nodes = pool(3)
    assert api.put(f"/backends/{nodes[0]}", {"inUse": False}).status == "Success"
    answer = create(api, "v", storageClass={"zones": ["nowhere"]})
    assert answer.status == "NoMatchingBackend"
    assert answer.description == (
        "0 of 1 replicas can be placed on 3 nodes: zone nowhere: 0 of 3 nodes; 1 node cordoned"
    )


def test_a_create_that_fits_too_few_nodes_says_why(api: Api, pool: Pool) -> None:
    pool(2)
    answer = create(api, "v", storageClass={"numReplicas": 3})
    assert answer.status == "NotEnoughMatchingBackends"
    assert "2 of 3 replicas" in answer.description
    assert "2 nodes that already have a replica" in answer.description
    assert audit() == []


def test_a_create_for_a_host_without_backend_says_so(api: Api, pool: Pool) -> None:
    nodes = pool(2)
    answer = create(api, "v", storageClass={"hostId": "h1"})
    assert (answer.status, answer.description) == (
        "NoBackendWithHostIdExists",
        "no backend has the hostId 'h1'",
    )
    assert api.put(f"/backends/{nodes[1]}", {"hostId": "h1"}).status == "Success"
    uuid = created(api, "v", storageClass={"hostId": "h1"}, protocol="Local")
    assert volume(api, uuid)["location"][0]["backend"]["persistentID"] == nodes[1]


def test_local_volume_needs_a_node_inside_a_host(api: Api, pool: Pool) -> None:
    pool(2)
    answer = create(api, "v", protocol="Local")
    assert answer.status == "NoMatchingBackend"
    assert "2 nodes without a hostId, which a Local volume needs" in answer.description


def test_a_volume_spans_ssds_only_if_that_is_allowed(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    [backend] = api.get("/backends").body
    per_ssd = backend["totalCapacity"] // backend["numberOfSSDs"] // GIB
    wanted = per_ssd + 10
    refused = create(api, "v", capacity=wanted).description
    assert f"1 node with less than {wanted} GiB free on one SSD" in refused
    uuid = created(api, "v", capacity=wanted, storageClass={"allowSpan": True})
    [location] = api.get(f"/volume_extended/{uuid}").body[0]["location"]
    assert [piece["capacity"] // GIB for piece in location["subVolumes"]] == [per_ssd, 10]
    assert len({piece["ssdID"] for piece in location["subVolumes"]}) == 2
    assert audit() == []


def test_volumes_of_an_exclusive_class_have_an_ssd_each(api: Api, pool: Pool) -> None:
    pool(1)
    ssds = api.get("/backends").body[0]["numberOfSSDs"]
    alone = {"name": "gold", "shareSSDBetweenVolumes": False}
    used = set()
    for number in range(ssds):
        uuid = created(api, f"v{number}", storageClass=alone)
        [location] = api.get(f"/volume_extended/{uuid}").body[0]["location"]
        used |= {piece["ssdID"] for piece in location["subVolumes"]}
    assert len(used) == ssds
    answer = create(api, "one-more", storageClass=alone)
    assert answer.status == "NoMatchingBackend"
    assert (
        "1 node where every SSD with room has a volume of the storage class" in answer.description
    )


def test_desired_performance_is_claimed_and_released(api: Api, pool: Pool) -> None:
    pool(1)
    before = api.get("/backends").body[0]["availableIOPS"]
    share = before // 10
    uuid = created(api, "v", capacity=10, storageClass={"desiredIOPSPerGB": share})
    assert api.get("/backends").body[0]["availableIOPS"] == before - 10 * share
    refused = create(api, "w", storageClass={"desiredIOPSPerGB": share})
    assert "unreserved IOPS" in refused.description
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    assert api.get("/backends").body[0]["availableIOPS"] == before


def test_a_dry_run_changes_nothing_and_explains_its_choice(api: Api, pool: Pool) -> None:
    nodes = pool(3)
    answer = create(api, "v", "/volumes?dryRun=true", storageClass={"zones": ["z2"]})
    assert answer.status == "Success"
    [chosen] = answer.body["chosen"]
    assert chosen["backend"] == {"persistentID": nodes[2]}
    assert chosen["subVolumes"][0]["capacity"] == 10 * GIB
    reason = "the node's zone is z1, not z2"
    assert answer.body["refused"] == [
        {"backend": {"persistentID": node}, "filter": "zone", "reason": reason}
        for node in sorted(nodes[:2])
    ]
    assert api.get("/volumes").body == []
    assert audit() == []


def test_a_volume_beyond_the_budget_is_refused(api: Api, pool: Pool) -> None:
    pool(2)
    budget = {"name": "t", "capacity": 30, "totalIOPS": 0, "totalBW": 0, "tenantId": "t1"}
    assert api.post("/tenants", budget).status == "Success"
    uuid = created(api, "a", "/t1/volumes", storageClass={"numReplicas": 2})
    answer = create(api, "b", "/t1/volumes", capacity=11)
    assert answer.status == "TenantCapacityExceeded"
    assert answer.description == (
        "tenant 't1' has a budget of 30 GiB, of which 20 GiB are used; "
        "the request needs 11 GiB more for all replicas"
    )
    grow = api.patch(f"/t1/volumes/{uuid}", {"newCapacity": 16})
    assert grow.status == "TenantCapacityExceeded"
    assert audit() == []


def test_an_unknown_tenant_is_refused_by_each_operation(api: Api, pool: Pool) -> None:
    pool(1)
    uuid = created(api, "a")
    for answer in (
        create(api, "b", "/nobody/volumes"),
        api.get("/nobody/volumes"),
        api.get(f"/nobody/volumes/{uuid}"),
        api.get("/nobody/volumes_by_alias/a"),
        api.get(f"/nobody/volume_extended/{uuid}"),
        api.patch(f"/nobody/volumes/{uuid}", {"newCapacity": 20}),
        api.delete(f"/nobody/volumes/{uuid}"),
    ):
        assert (answer.http, answer.status) == (200, "TenantNotFound"), answer


def test_another_tenants_volume_is_not_seen(api: Api, pool: Pool) -> None:
    pool(1)
    budget = {"name": "t", "capacity": 0, "totalIOPS": 0, "totalBW": 0, "tenantId": "t1"}
    api.post("/tenants", budget)
    uuid = created(api, "a")
    assert api.get(f"/t1/volumes/{uuid}").body == []
    assert api.delete(f"/t1/volumes/{uuid}").status == "NotExists"
    bound = api.as_role("STORAGE", tenant="t1")
    assert bound.get("/volumes").body == []
    assert bound.get("/0/volumes").status == "TenantNotFound"
    mine = created(bound, "a")
    assert volume(api, mine)["tenantId"] == "t1"
    assert create(bound, "b", tenantId="0").status == "TenantNotFound"
