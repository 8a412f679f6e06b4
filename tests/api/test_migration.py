"""Migrate Volume over HTTP: every check, and the whole dance of a host's agent."""

from collections.abc import Callable
from typing import Any

import pytest

from inventory.nodes.engines.simulated import SimulatedFleet
from tests.api.test_replicas import all_available, places, replicated, report
from tests.api.volume_steps import HOST, created, probe_host, published, volume
from tests.conftest import Answer, Api
from volumes.services.audit import audit

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
OTHER_HOST = "11111111-c09f-4f91-836d-5ed192ca6f64"


def migrate(api: Api, uuid: str, replica: str, **fields: Any) -> Answer:
    return api.post("/migrate_volume", {"volId": uuid, "repId": replica} | fields)


@pytest.fixture
def online(api: Api, pool: Pool) -> tuple[str, list[str]]:
    """A volume of two Available replicas in use by a host, in a pool of four nodes."""
    pool(4)
    uuid = replicated(api, "vol")
    published(api, uuid, probe_host(api))
    return uuid, all_available(api, uuid)


def test_the_dance_of_the_hosts_agent(
    api: Api, online: tuple[str, list[str]], fleet: SimulatedFleet
) -> None:
    uuid, [leaving, staying] = online
    agent = api.as_role("HOST")
    task_id = migrate(api, uuid, leaving).body["taskId"]
    [task] = agent.get("/tasks", hostId=HOST).body
    assert task == {
        "taskId": task_id,
        "type": "RemoteMigration",
        "state": "IDLE",
        "progress": 0.0,
        "stoppable": True,
        "hostId": HOST,
        "taskConfiguration": [
            {"name": "volId", "value": uuid},
            {"name": "replicaId", "value": leaving},
            {"name": "volumeAlias", "value": "vol"},
        ],
        "waitsFor": "the host",
    }
    update = {"taskId": task_id, "hostId": HOST}
    assert agent.put("/tasks", update | {"state": "RUNNING"}).status == "Success"
    assert agent.post(f"/replica/{uuid}", {"sameRackAllowed": False}).status == "Success"
    [new] = set(places(api, uuid)) - {leaving, staying}
    again = agent.post("/publish", {"volId": uuid, "hostId": HOST})
    assert again.status == "AlreadyPublished"
    assert report(agent, uuid, new, "Synchronizing").status == "Success"
    for progress in (12.5, 55.25, 40):
        assert agent.put("/tasks", update | {"progress": progress}).status == "Success"
    assert agent.get("/tasks", taskId=task_id).body[0]["progress"] == 55.25
    assert report(agent, uuid, new, "Available").status == "Success"
    assert agent.patch(f"/replica/{uuid}/{leaving}").status == "Success"
    assert agent.delete(f"/replica/{uuid}/{leaving}").status == "Success"
    done = {"state": "FINISHED", "progress": 100, "taskStatus": "Success"}
    assert agent.put("/tasks", update | done).status == "Success"
    [task] = agent.get("/tasks", hostId=HOST).body
    assert (task["state"], task["progress"], task["taskStatus"]) == ("FINISHED", 100, "Success")
    assert set(places(api, uuid)) == {staying, new}
    assert volume(api, uuid)["inUse"] is True
    assert audit() == []


def test_the_destination_is_kept_by_the_replica_that_is_added(
    api: Api, online: tuple[str, list[str]]
) -> None:
    uuid, [leaving, staying] = online
    used = {place["backend"]["persistentID"] for place in places(api, uuid).values()}
    *_, wanted = sorted({b["persistentID"] for b in api.get("/backends").body} - used)
    assert migrate(api, uuid, leaving, destinationBackendId=wanted).status == "Success"
    assert api.post(f"/replica/{uuid}", {}).status == "Success"
    [new] = set(places(api, uuid)) - {leaving, staying}
    assert places(api, uuid)[new]["backend"]["persistentID"] == wanted


def test_the_rack_that_is_left_may_be_used(api: Api, online: tuple[str, list[str]]) -> None:
    uuid, [leaving, _] = online
    shown = places(api, uuid)
    used = {place["backend"]["persistentID"] for place in shown.values()}
    racks = {b["persistentID"]: b["rack"] for b in api.get("/backends").body}
    left = racks[shown[leaving]["backend"]["persistentID"]]
    for node in set(racks) - used:
        api.put(f"/backends/{node}", {"rack": left})
    assert migrate(api, uuid, leaving).status == "Success"
    assert api.post(f"/replica/{uuid}", {}).status == "Success"


def test_unpublishing_in_the_middle(api: Api, online: tuple[str, list[str]]) -> None:
    uuid, [leaving, _] = online
    update = {"taskId": migrate(api, uuid, leaving).body["taskId"], "hostId": HOST}
    api.put("/tasks", update | {"state": "RUNNING"})
    assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "Success"
    assert api.get("/tasks", hostId=HOST).body[0]["state"] == "ABORTED"
    assert api.put("/tasks", update | {"progress": 50}).status == "TaskEnded"


def test_one_migration_of_a_volume_at_a_time(api: Api, online: tuple[str, list[str]]) -> None:
    uuid, [leaving, staying] = online
    assert migrate(api, uuid, leaving).status == "Success"
    assert migrate(api, uuid, staying).status == "TaskAlreadyRunning"


def test_refused(api: Api, online: tuple[str, list[str]]) -> None:
    uuid, [leaving, staying] = online
    assert migrate(api, "none", leaving).status == "VolumeNoFound"
    assert migrate(api, uuid, "none").status == "ReplicaNotFound"
    body = {"volId": uuid, "repId": leaving}
    assert api.post("/nobody/migrate_volume", body).status == "TenantNotFound"
    assert api.post("/migrate_volume", {"volId": uuid}).http == 400
    wrong = migrate(api, uuid, leaving, migrationHandler="NOBODY")
    assert (wrong.http, wrong.status) == (400, "InvalidInput")
    single = created(api, "single")
    published(api, single)
    assert migrate(api, single, single).status == "NotReplicated"
    offline = replicated(api, "offline")
    [replica, _] = all_available(api, offline)
    assert migrate(api, offline, replica).status == "VolumeNotPublished"
    report(api, uuid, staying, "Missing")
    few = migrate(api, uuid, leaving)
    assert few.status == "NotEnoughReplicas"
    assert few.description == (
        f"1 replicas of volume '{uuid}' are Available, it was created with 2"
    )
    report(api, uuid, staying, "Available")
    api.post("/publish", {"volId": uuid, "hostId": probe_host(api, OTHER_HOST)})
    assert migrate(api, uuid, leaving).status == "VolumePublishedToMultipleHosts"
    api.post("/unpublish", {"volId": uuid, "hostId": OTHER_HOST})
    nowhere = migrate(api, uuid, leaving, destinationBackendId="no-such-node")
    assert nowhere.status == "NoBackendToMigrateReplica"
    assert "destinationBackendId: 4" in nowhere.description
    api.patch(f"/replica/{uuid}/{leaving}")
    assert migrate(api, uuid, staying).status == "ReplicaTerminating"
    assert api.get("/tasks").body == []
