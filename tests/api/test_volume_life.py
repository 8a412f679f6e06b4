"""Existing volumes over HTTP: expand, delete, list, and show details."""

from collections.abc import Callable

import pytest

from inventory.models import Backend
from inventory.nodes.engines.simulated import SimulatedFleet
from tests.api.volume_steps import GIB, created, probe_host, published, volume
from tests.conftest import Api
from volumes.audit import audit
from volumes.models import Replica

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


def test_an_expansion_enlarges_all_replicas_and_their_limits(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(2)
    uuid = created(api, "v", storageClass={"numReplicas": 2, "maxIOPSPerGB": 3})
    assert api.patch(f"/volumes/{uuid}", {"newCapacity": "25"}).status == "Success"
    assert (volume(api, uuid)["capacity"], volume(api, uuid)["maxIOPS"]) == (25 * GIB, 75)
    for node in fleet.nodes[:2]:
        [spec] = node.volumes().values()
        assert (spec.capacity, spec.qos.max_iops) == (25 * GIB, 75)
    assert audit() == []


def test_an_expansion_reserves_more_performance_until_the_volume_is_deleted(
    api: Api, pool: Pool
) -> None:
    pool(2)
    rates = {"numReplicas": 2, "desiredIOPSPerGB": 3, "desiredBWPerGB": 4}
    uuid = created(api, "v", storageClass=rates)
    assert api.patch(f"/volumes/{uuid}", {"newCapacity": 25}).status == "Success"
    reserved = Backend.objects.values_list("used_iops", "used_bw")
    assert list(Replica.objects.values_list("desired_iops", "desired_bw")) == [(75, 100)] * 2
    assert list(reserved.all()) == [(75, 100)] * 2
    assert audit() == []
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    assert list(reserved.all()) == [(0, 0)] * 2


def test_an_impossible_expansion_is_refused_and_changes_nothing(api: Api, pool: Pool) -> None:
    pool(1)
    uuid = created(api, "v")
    same = api.patch(f"/volumes/{uuid}", {"newCapacity": 10})
    assert same.status == "InvalidSize"
    assert same.description == "newCapacity = 10: must be more than the volume's 10 GiB"
    assert api.patch(f"/volumes/{uuid}", {"newCapacity": 100_000}).status == "NoFreeSpace"
    assert api.patch("/volumes/none", {"newCapacity": 20}).status == "NotExists"
    assert api.patch(f"/volumes/{uuid}", {}).http == 400
    assert volume(api, uuid)["capacity"] == 10 * GIB
    assert audit() == []


def test_a_thin_volume_is_expanded_with_its_reserved_space(api: Api, pool: Pool) -> None:
    pool(1)
    uuid = created(api, "v", capacity=100, provisioningType="THIN")
    assert volume(api, uuid)["reservedSpace"] == 20 * GIB
    assert api.patch(f"/volumes/{uuid}", {"newCapacity": 400}).status == "Success"
    assert volume(api, uuid)["reservedSpace"] == 40 * GIB
    assert audit() == []


def test_a_deleted_volume_is_removed_from_nodes_and_its_names_are_free(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(2)
    uuid = created(api, "v", storageClass={"numReplicas": 2})
    assert api.delete(f"/volumes/{uuid}/").status == "Success"
    assert api.get(f"/volumes/{uuid}").body == []
    assert [node.volumes() for node in fleet.nodes[:2]] == [{}, {}]
    assert api.delete(f"/volumes/{uuid}").status == "NotExists"
    assert created(api, "v", uuid=uuid) == uuid
    assert audit() == []


def test_a_published_volume_cannot_be_deleted(api: Api, pool: Pool) -> None:
    pool(1)
    uuid = created(api, "v")
    published(api, uuid, probe_host(api))
    assert api.delete(f"/volumes/{uuid}").status == "VolumeIsInUse"
    assert volume(api, uuid)["inUse"] is True


def test_volumes_are_filtered_and_listed_page_by_page(api: Api, pool: Pool) -> None:
    nodes = pool(3)
    uuids = sorted(created(api, f"v{n}") for n in range(5))
    assert [row["uuid"] for row in api.get("/volumes").body] == uuids
    page = api.get("/volumes", limit=2, Offset=1).body
    assert [row["uuid"] for row in page] == uuids[1:3]
    page = api.get("/volumes", limit=2, marker=uuids[1]).body
    assert [row["uuid"] for row in page] == uuids[2:4]
    on_first = {
        row["uuid"]
        for row in api.get("/volumes").body
        if row["location"][0]["backend"]["persistentID"] == nodes[0]
    }
    found = api.get("/volumes", backendId=nodes[0]).body
    assert {row["uuid"] for row in found} == on_first
    host = probe_host(api)
    published(api, uuids[4], host)
    assert [row["uuid"] for row in api.get("/volumes", hostId=host).body] == [uuids[4]]
    assert api.get("/volumes", limit=0).http == 400
    assert api.get("/volumes", offset=-1).http == 400


def test_extended_shows_ssds_and_connected_hosts(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    uuid, host = created(api, "v"), probe_host(api)
    published(api, uuid, host)
    [location] = api.get(f"/volume_extended/{uuid}").body[0]["location"]
    [piece] = location["subVolumes"]
    assert piece["capacity"] == 10 * GIB
    assert set(piece) == {"capacity", "ssdID", "ssdName"}
    assert "sessions" not in location
    nqn = f"nqn.2014-08.org.nvmexpress:uuid:{host}"
    fleet.nodes[0].set_connected_hosts(f"nqn.2022-08.com.kioxia:{host}", [nqn])
    [location] = api.get(f"/volume_extended/{uuid}").body[0]["location"]
    assert location["sessions"] == [{"hostID": host}]
    assert api.get("/volume_extended/none").body == []
