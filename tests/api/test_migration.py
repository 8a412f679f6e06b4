""" "Migrate Volume" over HTTP: every check, and all steps of a host's agent."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from inventory.models import Host
from inventory.nodes.engines.simulated import SimulatedFleet
from tasks import runner
from tasks.models import Task
from tests.api.migration_steps import migrate
from tests.api.released_clients import AGENT, DRIVER
from tests.api.replicas_steps import all_available, places, replicated, report
from tests.api.volume_steps import HOST, created, probe_host, published, volume
from tests.conftest import Api
from tests.sagas.checks import resume
from tests.volumes.reconcilers.garbage_collector_steps import collect_overdue
from volumes.audit import audit
from volumes.models import Replica

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
OTHER_HOST = "11111111-c09f-4f91-836d-5ed192ca6f64"


@pytest.fixture
def online(api: Api, pool: Pool) -> tuple[str, list[str]]:
    """A pool of four nodes, and a volume of two Available replicas in use by a host."""
    pool(4)
    uuid = replicated(api, "vol")
    published(api, uuid, probe_host(api))
    return uuid, all_available(api, uuid)


def test_a_hosts_agent_migrates_a_replica_step_by_step(
    api: Api, online: tuple[str, list[str]], fleet: SimulatedFleet
) -> None:
    uuid, [outgoing, staying] = online
    agent = api.as_role("HOST")
    task_id = migrate(api, uuid, outgoing).body["taskId"]
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
            {"name": "replicaId", "value": outgoing},
            {"name": "volumeAlias", "value": "vol"},
        ],
        "waitsFor": "the host",
    }
    update = {"taskId": task_id, "hostId": HOST}
    assert agent.put("/tasks", update | {"state": "RUNNING"}).status == "Success"
    assert agent.post(f"/replica/{uuid}", {"sameRackAllowed": False}).status == "Success"
    [new] = set(places(api, uuid)) - {outgoing, staying}
    again = agent.post("/publish", {"volId": uuid, "hostId": HOST})
    assert again.status == "AlreadyPublished"
    assert report(agent, uuid, new, "Synchronizing").status == "Success"
    for progress in (12.5, 55.25, 40):
        assert agent.put("/tasks", update | {"progress": progress}).status == "Success"
    assert agent.get("/tasks", taskId=task_id).body[0]["progress"] == 55.25
    assert report(agent, uuid, new, "Available").status == "Success"
    assert agent.patch(f"/replica/{uuid}/{outgoing}").status == "Success"
    assert agent.delete(f"/replica/{uuid}/{outgoing}").status == "Success"
    done = {"state": "FINISHED", "progress": 100, "taskStatus": "Success"}
    assert agent.put("/tasks", update | done).status == "Success"
    [task] = agent.get("/tasks", hostId=HOST).body
    assert (task["state"], task["progress"], task["taskStatus"]) == ("FINISHED", 100, "Success")
    assert set(places(api, uuid)) == {staying, new}
    assert volume(api, uuid)["inUse"] is True
    assert audit() == []


def test_the_added_replica_is_placed_on_the_requested_destination(
    api: Api, online: tuple[str, list[str]]
) -> None:
    uuid, [outgoing, staying] = online
    used = {place["backend"]["persistentID"] for place in places(api, uuid).values()}
    *_, wanted = sorted({b["persistentID"] for b in api.get("/backends").body} - used)
    assert migrate(api, uuid, outgoing, destinationBackendId=wanted).status == "Success"
    assert api.post(f"/replica/{uuid}", {}).status == "Success"
    [new] = set(places(api, uuid)) - {outgoing, staying}
    assert places(api, uuid)[new]["backend"]["persistentID"] == wanted


def test_the_new_replica_may_use_the_rack_of_the_outgoing_one(
    api: Api, online: tuple[str, list[str]]
) -> None:
    uuid, [outgoing, _] = online
    shown = places(api, uuid)
    used = {place["backend"]["persistentID"] for place in shown.values()}
    racks = {b["persistentID"]: b["rack"] for b in api.get("/backends").body}
    left = racks[shown[outgoing]["backend"]["persistentID"]]
    for node in set(racks) - used:
        api.put(f"/backends/{node}", {"rack": left})
    assert migrate(api, uuid, outgoing).status == "Success"
    assert api.post(f"/replica/{uuid}", {}).status == "Success"


def test_unpublishing_aborts_the_migration_and_removes_the_added_replica(
    api: Api, online: tuple[str, list[str]]
) -> None:
    """The replica that the host added is removed."""
    uuid, [outgoing, staying] = online
    update = {"taskId": migrate(api, uuid, outgoing).body["taskId"], "hostId": HOST}
    api.put("/tasks", update | {"state": "RUNNING"})
    assert api.post(f"/replica/{uuid}", {}).status == "Success"
    assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "Success"
    assert api.get("/tasks", hostId=HOST).body[0]["state"] == "ABORTED"
    assert api.put("/tasks", update | {"progress": 50}).status == "TaskEnded"
    assert set(places(api, uuid)) == {outgoing, staying}
    collect_overdue()
    assert audit() == []


def test_removing_the_host_aborts_its_migration(api: Api, online: tuple[str, list[str]]) -> None:
    uuid, [outgoing, _] = online
    migrate(api, uuid, outgoing)
    Host.objects.update(available_until=timezone.now())
    assert api.delete(f"/hosts/{HOST}").status == "Success"
    assert api.get("/tasks", hostId=HOST).body[0]["state"] == "ABORTED"


def test_a_migration_fails_when_its_host_is_silent_for_too_long(
    api: Api, online: tuple[str, list[str]]
) -> None:
    """Any report of the host counts. Without reports, the added replica is removed, and later
    reports fail.
    """
    uuid, [outgoing, staying] = online
    task_id = migrate(api, uuid, outgoing).body["taskId"]
    update = {"taskId": task_id, "hostId": HOST}
    api.put("/tasks", update | {"state": "RUNNING"})
    assert api.post(f"/replica/{uuid}", {}).status == "Success"
    [new] = set(places(api, uuid)) - {outgoing, staying}
    let_pass(601)
    report(api, uuid, new, "Synchronizing")
    let_pass(590)
    assert run(task_id).state == "RUNNING"
    report(api, uuid, new, "Synchronizing")
    let_pass(590)
    assert run(task_id).state == "RUNNING"
    let_pass(11)
    assert run(task_id).description == "its host has reported nothing for 600 s"
    assert api.get("/tasks", hostId=HOST).body[0]["taskStatus"] == "NotAvailable"
    assert set(places(api, uuid)) == {outgoing, staying}
    assert api.put("/tasks", update | {"progress": 50}).status == "TaskEnded"
    assert report(api, uuid, new, "Available").status == "NotExists"
    collect_overdue()
    assert audit() == []


def test_a_migration_that_its_host_never_ends_fails_in_the_end(
    api: Api, online: tuple[str, list[str]]
) -> None:
    """Reports of a replica that does not move count as progress, too."""
    uuid, [outgoing, staying] = online
    task_id = migrate(api, uuid, outgoing).body["taskId"]
    for days in (6, 2):
        assert run(task_id).state == "IDLE"
        created_at = Task.objects.get(pk=task_id).created_at - dt.timedelta(days=days)
        Task.objects.filter(pk=task_id).update(created_at=created_at)
        report(api, uuid, staying, "Available")
    assert run(task_id).description == "its host has not ended it within 7 days"


@pytest.mark.parametrize("synchronized", [False, True])
def test_a_silent_host_that_marked_the_outgoing_replica_may_not_be_undone(
    api: Api, online: tuple[str, list[str]], synchronized: bool
) -> None:
    """If the new replica was Available, the host may have written only to it. Then nothing is
    undone.
    """
    uuid, [outgoing, staying] = online
    task_id = migrate(api, uuid, outgoing).body["taskId"]
    assert api.post(f"/replica/{uuid}", {}).status == "Success"
    [new] = set(places(api, uuid)) - {outgoing, staying}
    if synchronized:
        report(api, uuid, new, "Available")
    assert api.patch(f"/replica/{uuid}/{outgoing}").status == "Success"
    let_pass(601)
    assert run(task_id).state == "FAILED"
    states = {replica: place["replicaState"] for replica, place in places(api, uuid).items()}
    expected = {new: "Available"} if synchronized else {outgoing: "Missing"}
    assert states == {staying: "Available"} | expected
    collect_overdue()
    assert audit() == []


def test_the_last_available_replica_stays(api: Api, online: tuple[str, list[str]]) -> None:
    uuid, [outgoing, staying] = online
    task_id = migrate(api, uuid, outgoing).body["taskId"]
    assert api.post(f"/replica/{uuid}", {}).status == "Success"
    [new] = set(places(api, uuid)) - {outgoing, staying}
    for replica, state in ((new, "Available"), (outgoing, "Missing"), (staying, "Missing")):
        report(api, uuid, replica, state)
    abort = {"taskId": task_id, "hostId": HOST, "state": "ABORTED"}
    assert api.put("/tasks", abort).status == "Success"
    assert set(places(api, uuid)) == {outgoing, staying, new}


@pytest.mark.parametrize(
    ("client", "asked", "by_worker"),
    [
        (AGENT, {}, False),
        ({"clientType": "Kubernetes", "version": "1.0"}, {}, False),
        (DRIVER, {}, True),
        (DRIVER, {"migrationHandler": "agent"}, False),
        (AGENT, {"migrationHandler": "PROVISIONER"}, True),
    ],
)
def test_the_agent_or_else_a_worker_carries_out_the_migration(
    api: Api,
    online: tuple[str, list[str]],
    client: dict[str, Any],
    asked: dict[str, str],
    by_worker: bool,
) -> None:
    """A host can neither take nor end a task that a worker carries out. The agent does not see the
    task, because agents assume that every task in their list is their own.
    """
    uuid, [outgoing, _] = online
    Host.objects.update(agent_until=None)
    probe_host(api, **client)
    task_id = migrate(api, uuid, outgoing, **asked).body["taskId"]
    [task] = api.get("/tasks", taskId=task_id).body
    tag = {"name": "migrationHandler", "value": "PROVISIONER"}
    assert (tag in task["taskConfiguration"]) is by_worker
    assert (task["state"], task["hostId"]) == ("RUNNING" if by_worker else "IDLE", HOST)
    assert api.get("/tasks", hostId=HOST).body == ([] if by_worker else [task])
    update = {"taskId": task_id, "hostId": HOST, "state": "FINISHED"}
    answer = api.put("/tasks", update)
    assert answer.status == ("UpdateTaskFailed" if by_worker else "Success")


def let_pass(seconds: int) -> None:
    """Change all reports of hosts as if they had come this much earlier."""
    span = dt.timedelta(seconds=seconds)
    Task.objects.update(
        created_at=F("created_at") - span, last_activity_at=F("last_activity_at") - span
    )
    Replica.objects.update(replica_state_since=F("replica_state_since") - span)


def run(task_id: str) -> Task:
    resume(task_id)
    runner.run(task_id)
    return Task.objects.get(pk=task_id)


def test_a_migration_without_replica_id_prefers_cordoned_nodes(
    api: Api, online: tuple[str, list[str]]
) -> None:
    uuid, _ = online
    oldest, youngest = Replica.objects.filter(volume__uuid=uuid).order_by("pk")

    def chosen() -> str:
        task_id = api.post("/migrate_volume", {"volId": uuid}).body["taskId"]
        [task] = api.get("/tasks", taskId=task_id).body
        abort = {"taskId": task_id, "hostId": HOST, "state": "ABORTED"}
        assert api.put("/tasks", abort).status == "Success"
        return str({tag["name"]: tag["value"] for tag in task["taskConfiguration"]}["replicaId"])

    assert chosen() == oldest.uuid
    assert api.put(f"/backends/{youngest.backend_id}", {"inUse": False}).status == "Success"
    assert chosen() == youngest.uuid


def test_a_volume_has_one_migration_at_a_time(api: Api, online: tuple[str, list[str]]) -> None:
    uuid, [outgoing, staying] = online
    assert migrate(api, uuid, outgoing).status == "Success"
    assert migrate(api, uuid, staying).status == "TaskAlreadyRunning"


def test_a_migration_that_is_not_possible_is_refused(
    api: Api, online: tuple[str, list[str]]
) -> None:
    uuid, [outgoing, staying] = online
    assert migrate(api, "none", outgoing).status == "VolumeNoFound"
    assert migrate(api, uuid, "none").status == "ReplicaNotFound"
    body = {"volId": uuid, "repId": outgoing}
    assert api.post("/nobody/migrate_volume", body).status == "TenantNotFound"
    assert api.post("/migrate_volume", {"repId": outgoing}).http == 400
    wrong = migrate(api, uuid, outgoing, migrationHandler="NOBODY")
    assert (wrong.http, wrong.status) == (400, "InvalidInput")
    single = created(api, "single")
    published(api, single)
    assert migrate(api, single, single).status == "NotReplicated"
    offline = replicated(api, "offline")
    [replica, _] = all_available(api, offline)
    assert migrate(api, offline, replica).status == "VolumeNotPublished"
    report(api, uuid, staying, "Missing")
    few = migrate(api, uuid, outgoing)
    assert few.status == "NotEnoughReplicas"
    assert few.description == (
        f"only 1 of the replicas of volume '{uuid}' are Available, but it was created with 2"
    )
    report(api, uuid, staying, "Available")
    api.post("/publish", {"volId": uuid, "hostId": probe_host(api, OTHER_HOST)})
    assert migrate(api, uuid, outgoing).status == "VolumePublishedToMultipleHosts"
    api.post("/unpublish", {"volId": uuid, "hostId": OTHER_HOST})
    nowhere = migrate(api, uuid, outgoing, destinationBackendId="no-such-node")
    assert nowhere.status == "NoBackendToMigrateReplica"
    assert "destinationBackendId no-such-node: 0 of 4 nodes" in nowhere.description
    api.patch(f"/replica/{uuid}/{outgoing}")
    assert migrate(api, uuid, staying).status == "ReplicaTerminating"
    assert api.get("/tasks").body == []


def test_a_replica_added_by_a_migration_does_not_exceed_the_maximum(api: Api, pool: Pool) -> None:
    pool(5)
    uuid = replicated(api, number=3)
    published(api, uuid, probe_host(api))
    first, second, _ = all_available(api, uuid)
    assert migrate(api, uuid, first).status == "Success"
    assert api.post(f"/replica/{uuid}", {}).status == "Success"
    assert migrate(api, uuid, second).status == "TaskAlreadyRunning"


def test_a_volume_of_four_replicas_gets_no_further_replica(api: Api, pool: Pool) -> None:
    pool(5)
    uuid = replicated(api, number=3)
    published(api, uuid, probe_host(api))
    assert api.post(f"/replica/{uuid}", {}).status == "Success"
    first, *_ = all_available(api, uuid)
    answer = migrate(api, uuid, first)
    assert answer.status == "NoBackendToMigrateReplica"
    assert "has 4 replicas: the limit is 4" in answer.description
    assert api.get("/tasks").body == []
