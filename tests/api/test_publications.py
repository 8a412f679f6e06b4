"""Publish, unpublish, targets and the removal of hosts and nodes in use."""

from collections.abc import Callable

import pytest

from inventory.models import Backend, Host
from inventory.nodes.engines.simulated import SimulatedFleet
from tasks.models import TaskType
from tasks.services import task_create
from tests.api.publications_steps import silent
from tests.api.volume_steps import HOST, created, probe_host, published, volume
from tests.conftest import Api
from volumes.audit import audit
from volumes.reconcilers.garbage_collector import collect

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
OTHER_HOST = "11111111-c09f-4f91-836d-5ed192ca6f64"
NQN = f"nqn.2022-08.com.kioxia:{HOST}"


def test_publishing_exports_each_replica_under_a_namespace_id_of_its_own(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    nodes = pool(3)
    probe_host(api, usedNamespacesIds=[1, 2])
    first = created(api, "a", storageClass={"numReplicas": 3})
    second = created(api, "b", storageClass={"numReplicas": 2})
    published(api, first)
    published(api, second)
    targets = [node.engine.targets for node in fleet.nodes[:3]]
    assert [list(found) for found in targets] == [[NQN]] * 3
    assert sorted(n for found in targets for n in found[NQN].namespaces) == [3, 4, 5, 6, 7]
    assert {(t.first, t.last) for found in targets if (t := found[NQN].controllers)} == {
        (64, 127),
        (128, 191),
        (192, 255),
    }
    shown = volume(api, first)
    assert shown["inUse"] is True
    assert all(place["inUse"] for place in shown["location"])
    assert api.get("/targets", hostId=HOST).body == [
        {
            "name": NQN,
            "targetName": NQN,
            "alias": "host-6d4a",
            "connectedBackends": [{"persistentID": node} for node in sorted(nodes)],
            "hostTargetConnectedTo": "host-6d4a",
            "numNamespaces": 2,
        }
    ]
    assert api.get("/targets", volId=second).body == api.get("/targets").body
    assert api.get("/targets", hostId=HOST, volId=second).body == api.get("/targets").body
    [host] = api.get("/hosts").body
    assert host["usedNamespacesIds"] == [1, 2, 3, 4, 5, 6, 7]
    assert audit() == []


def test_publishing_again_creates_missing_exports(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(2)
    probe_host(api)
    uuid = created(api, "a", storageClass={"numReplicas": 2})
    fleet.nodes[0].faults.go_down()
    published(api, uuid)
    assert sorted(place["inUse"] for place in volume(api, uuid)["location"]) == [False, True]
    fleet.nodes[0].faults.come_up()
    published(api, uuid)
    again = api.post("/publish", {"volId": uuid, "hostId": HOST})
    assert again.status == "AlreadyPublished"
    assert audit() == []


def test_a_host_that_changed_its_nqn_is_let_in_by_the_next_publish(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    uuid = created(api, "a")
    published(api, uuid, probe_host(api))
    probe_host(api, hostNqn="nqn.2014-08.org.nvmexpress:new")
    published(api, uuid)
    assert fleet.nodes[0].engine.targets[NQN].host_nqn == "nqn.2014-08.org.nvmexpress:new"
    collect()
    assert fleet.nodes[0].engine.targets[NQN].namespaces == {1: uuid}
    assert audit() == []


def test_two_hosts_may_have_one_volume(api: Api, pool: Pool) -> None:
    pool(1)
    uuid = created(api, "a")
    published(api, uuid, probe_host(api))
    published(api, uuid, probe_host(api, OTHER_HOST))
    assert len(api.get("/targets", volId=uuid).body) == 2
    body = {"volId": uuid, "hostId": OTHER_HOST}
    assert api.post("/unpublish", body).status == "Success"
    assert [t["name"] for t in api.get("/targets", volId=uuid).body] == [NQN]
    assert audit() == []


def test_publish_is_refused_for_unknown_hosts_volumes_and_tenants(api: Api, pool: Pool) -> None:
    pool(1)
    uuid = created(api, "a")
    assert api.post("/publish", {"volId": uuid, "hostId": HOST}).status == "HostNotFound"
    probe_host(api)
    assert api.post("/publish", {"volId": "no", "hostId": HOST}).status == "VolumeNotFound"
    tenant = api.post("/nobody/publish", {"volId": uuid, "hostId": HOST})
    assert tenant.status == "TenantNotFound"
    assert api.post("/publish", {"volId": uuid}).http == 400
    assert api.post("/publish", {"hostId": HOST}).http == 400


def test_a_local_volume_is_published_only_to_the_host_of_its_node(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    probe_host(api)
    probe_host(api, OTHER_HOST)
    api.put(f"/backends/{node}", {"hostId": HOST})
    uuid = created(api, "a", protocol="Local")
    refused = api.post("/publish", {"volId": uuid, "hostId": OTHER_HOST})
    assert refused.status == "VolumeNotInHost"
    elsewhere = api.post("/unpublish", {"volId": uuid, "hostId": OTHER_HOST})
    assert elsewhere.status == "VolumeNotInHost"
    assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "VolumeNotPublished"
    published(api, uuid)
    again = api.post("/publish", {"volId": uuid, "hostId": HOST})
    assert again.status == "AlreadyPublished"
    assert api.get("/targets").body == []
    assert fleet.nodes[0].engine.targets == {}
    assert volume(api, uuid)["inUse"] is True
    assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "Success"
    assert api.delete(f"/volumes/{uuid}").status == "Success"


def test_publish_fails_without_effect_if_no_node_answers(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    probe_host(api)
    uuid = created(api, "a")
    fleet.nodes[0].faults.go_down()
    answer = api.post("/publish", {"volId": uuid, "hostId": HOST})
    assert answer.status == "PublishFailed"
    assert answer.description.startswith("no replica could be exported: node ")
    assert volume(api, uuid)["inUse"] is False


def test_unpublishing_removes_the_exports_from_all_nodes(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(2)
    probe_host(api)
    uuid = created(api, "a", storageClass={"numReplicas": 2})
    body = {"volId": uuid, "hostId": HOST}
    assert api.post("/unpublish", body).status == "VolumeNotPublished"
    published(api, uuid)
    assert api.post("/unpublish", body).status == "Success"
    assert [node.engine.targets for node in fleet.nodes[:2]] == [{}, {}]
    assert api.get("/targets").body == []
    assert api.post("/unpublish", body).status == "VolumeNotPublished"
    assert api.post("/unpublish", body | {"volId": "no"}).status == "VolumeNotFound"
    assert api.post("/unpublish", body | {"hostId": "no"}).status == "HostNotFound"
    assert api.post("/nobody/unpublish", body).status == "TenantNotFound"
    assert audit() == []


def test_unpublish_without_host_id_detaches_all_hosts(api: Api, pool: Pool) -> None:
    pool(1)
    uuid = created(api, "a")
    published(api, uuid, probe_host(api))
    published(api, uuid, probe_host(api, OTHER_HOST))
    assert api.post("/unpublish", {"volId": uuid}).status == "Success"
    assert api.get("/targets").body == []
    assert api.post("/unpublish", {"volId": uuid}).status == "VolumeNotPublished"


def test_unpublishing_aborts_the_volumes_migration(api: Api, pool: Pool) -> None:
    pool(1)
    uuid = created(api, "a")
    published(api, uuid, probe_host(api))
    task = task_create(type=TaskType.REMOTE_MIGRATION, host_id=HOST, volume_id=uuid)
    assert api.post("/unpublish", {"volId": uuid}).status == "Success"
    [shown] = api.get("/tasks", taskId=task.task_id).body
    assert shown["state"] == "ABORTED"


def test_unpublish_fails_if_an_available_node_does_not_confirm(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    uuid = created(api, "a")
    published(api, uuid, probe_host(api))
    fleet.nodes[0].faults.go_down()
    body = {"volId": uuid, "hostId": HOST}
    answer = api.post("/unpublish", body)
    assert answer.status == "UnpublishFailed"
    assert "the provisioner tries again" in answer.description
    fleet.nodes[0].faults.come_up()
    assert api.post("/unpublish", body).status == "Success"
    assert audit() == []


def test_removing_a_host_unpublishes_its_volumes(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    uuid = created(api, "a")
    published(api, uuid, probe_host(api))
    assert api.delete(f"/hosts/{HOST}").status == "HostAvailable"
    silent(Host.objects.get(pk=HOST))
    assert api.delete(f"/hosts/{HOST}").status == "Success"
    assert api.delete(f"/hosts/{HOST}").status == "NotExists"
    assert fleet.nodes[0].engine.targets == {}
    assert volume(api, uuid)["inUse"] is False


def test_a_backend_with_volumes_is_removed_only_by_force_while_unavailable(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    nodes = pool(2)
    uuid = created(api, "a", storageClass={"numReplicas": 2})
    published(api, uuid, probe_host(api))
    path = f"/backends/{nodes[0]}"
    assert api.delete(path).status == "BackendHasVolumes"
    assert api.delete(path, force="true").status == "BackendHasVolumes"
    silent(Backend.objects.get(pk=nodes[0]))
    assert api.delete(path).status == "BackendHasVolumes"
    assert api.delete(path, force="true").status == "Success"
    assert api.delete(path).status == "NotExists"
    shown = {p["backend"]["persistentID"]: p for p in volume(api, uuid)["location"]}
    assert set(shown) == {"", nodes[1]}
    assert (shown[""]["replicaState"], shown[""]["inUse"]) == ("Missing", False)
    assert api.post("/unpublish", {"volId": uuid}).status == "Success"
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    assert api.get("/tenants").body[0]["consumedCapacity"] == 0
    assert audit() == []


def test_an_empty_backend_can_be_removed(api: Api, pool: Pool) -> None:
    nodes = pool(2)
    uuid = created(api, "a")
    api.delete(f"/volumes/{uuid}")
    assert api.delete(f"/backends/{nodes[0]}").status == "Success"
    assert [b["persistentID"] for b in api.get("/backends").body] == [nodes[1]]
