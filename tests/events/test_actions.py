"""Actions of operators and changes of nodes are recorded as the events that the pages describe."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from events.kinds import Kind
from inventory.jobs import poll_late_backends
from inventory.models import Backend, Host
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.services.pool.identity import database_doubt_set
from provisioner.access import login_attempts, token_views
from tasks.models import Task
from tests.api.replicas_steps import all_available, places, replicated
from tests.api.snapshot_steps import cloned, created_snapshot_volume, snapped
from tests.api.volume_steps import HOST, create, created, probe_host, published
from tests.conftest import Api
from tests.inventory.poll_steps import silent_for
from tests.volumes.reconcilers.drain_steps import active, drained, node_named, settle, work
from tests.volumes.reconcilers.garbage_collector_steps import collect_overdue
from tests.volumes.reconcilers.node_check_steps import check
from volumes.models import Replica
from volumes.services.replica.replace import replica_sync_submit
from volumes.services.volume import create as volume_creation

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


@pytest.fixture(autouse=True)
def _fresh_tallies() -> None:
    """Reset the counts of other tests."""
    for tally in (login_attempts.REFUSED, token_views.ISSUED, volume_creation.REFUSED):
        tally._counts.clear()


def told(api: Api, kind: Kind | None = None, **query: Any) -> list[dict[str, Any]]:
    """Return the events, the oldest first."""
    wanted = {"kind": kind.wire} if kind else {}
    answer = api.get("/events", **wanted, **query)
    assert answer.http == 200, answer
    return list(answer.body)


def kinds(api: Api, **query: Any) -> list[str]:
    return [event["kind"] for event in told(api, **query)]


def test_each_change_of_a_volume_is_an_event(api: Api, pool: Pool) -> None:
    [node] = pool(1)
    uuid = created(api, "v")
    published(api, uuid, probe_host(api))
    assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "Success"
    assert api.patch(f"/volumes/{uuid}", {"newCapacity": 20}).status == "Success"
    clone, snapshot = cloned(api, uuid, "c"), snapped(api, uuid, "s")
    view = created_snapshot_volume(api, snapshot, "sv")
    for path in (f"volumes/{view}", f"snapshots/{snapshot}", f"volumes/{uuid}"):
        assert api.delete(f"/{path}").status == "Success", path
    assert kinds(api, about=f"volume:{uuid}") == [
        *("VolumeCreated", "VolumePublished", "VolumeUnpublished", "VolumeExpanded"),
        *("VolumeCloned", "SnapshotCreated", "SnapshotVolumeCreated", "VolumeDeleted"),
    ]
    assert kinds(api, about=snapshot)[-1] == "SnapshotDeleted"
    assert kinds(api, about=f"volume:{clone}") == ["VolumeCloned"]
    made = told(api, Kind.VOLUME_CREATED)[0]
    assert made["text"] == f"Volume v of 10 GiB was created on {node}."
    assert made["actor"] == {"type": "caller", "name": "tester"}
    assert made["tenantId"] == "0"
    [placement] = made["details"]["placement"]
    assert placement["backend"] == node
    assert placement["weight"] > 0
    assert placement["freeBytes"] <= placement["totalBytes"]


def test_an_event_has_the_id_of_its_request(api: Api, pool: Pool) -> None:
    pool(1)
    mine = Api(api.url, api.authorization, **{"X-Request-ID": "mine"})
    created(mine, "v")
    assert kinds(api, requestId="mine") == ["VolumeCreated"]


def test_refused_placements_are_bounded_events_with_the_reason(api: Api, pool: Pool) -> None:
    pool(1)
    for _ in range(22):
        assert create(api, "v", capacity=10**6).status == "NoMatchingBackend"
    refused, *others = told(api, Kind.PLACEMENT_REFUSED)
    assert len(others) == 19
    assert refused["text"].startswith(
        "Volume v of 1000000 GiB could not be placed: 0 of 1 replicas can"
    )
    assert refused["tenantId"] == "0"


def test_a_create_that_no_node_accepts_is_an_event(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    fleet.nodes[0].faults.fail(method="PUT")
    assert create(api, "v").status == "NoMatchingBackend"
    [aborted] = told(api, Kind.VOLUME_ABORTED)
    assert aborted["reason"]
    assert kinds(api, severity="warning") == ["VolumeAborted"]


def test_adding_changing_and_removing_a_node_are_events(api: Api, pool: Pool) -> None:
    [node] = pool(1)
    for body in ({"rack": "r9", "inUse": False}, {"inUse": True}):
        assert api.put(f"/backends/{node}", body).status == "Success"
    assert api.delete(f"/backends/{node}").status == "Success"
    assert kinds(api, about=f"backend:{node}") == [
        *("BackendAdded", "BackendCordoned", "BackendChanged"),
        *("BackendUncordoned", "BackendRemoved"),
    ]
    [changed] = told(api, Kind.BACKEND_CHANGED)
    assert changed["details"]["values"] == {"rack": "r9"}


def test_unavailable_nodes_and_hosts_and_their_return_are_one_event_each(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    probe_host(api)
    fleet.nodes[0].faults.go_down()
    silent_for(1000)
    long_ago = timezone.now() - dt.timedelta(hours=1)
    Host.objects.update(available_until=long_ago)
    for _ in range(2):
        poll_late_backends()
    assert kinds(api, about=f"backend:{node}")[1:] == ["BackendUnavailable"]
    assert kinds(api, about=f"host:{HOST}") == ["HostAdded", "HostUnavailable"]
    [gone] = told(api, Kind.BACKEND_UNAVAILABLE)
    assert "the node has not answered calls since" in gone["reason"]
    fleet.nodes[0].faults.come_up()
    Backend.objects.update(polled_at=long_ago)
    probe_host(api)
    for _ in range(2):
        poll_late_backends()
    assert kinds(api, about=f"backend:{node}")[2:] == ["BackendAvailable"]
    assert kinds(api, about=f"host:{HOST}")[2:] == ["HostAvailable"]


def test_the_loss_of_the_last_replica_is_a_critical_event(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    uuid = created(api, "v")
    snapshot = snapped(api, uuid, "s")
    fleet.nodes[0].come_back_empty()
    for _ in range(2):
        check()
    assert kinds(api, about=f"volume:{uuid}", severity="error") == [
        *("ReplicaMissing", "DataLost", "SnapshotLost")
    ]
    [lost] = told(api, Kind.SNAPSHOT_LOST)
    assert {"type": "snapshot", "id": snapshot} in lost["objects"]
    assert {"type": "backend", "id": node} in lost["objects"]
    text = api.get("/metrics").body
    assert 'provisioner_recent_events{kind="DataLost",severity="critical"} 1.0' in text


def test_the_loss_of_one_of_several_replicas_is_no_loss_of_data(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(2)
    uuid = replicated(api)
    all_available(api, uuid)
    lost = Replica.objects.get(uuid=next(iter(places(api, uuid))))
    node_named(fleet, str(lost.backend_id)).come_back_empty()
    check()
    assert kinds(api, about=f"replica:{lost.uuid}")[-1] == "ReplicaMissing"
    assert told(api, Kind.DATA_LOST) == []


def test_a_forced_removal_reports_lost_data_only_for_volumes_without_another_replica(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    uuid = created(api, "v")
    fleet.nodes[0].faults.go_down()
    silent_for(1000)
    assert api.delete(f"/backends/{node}", force="true").status == "Success"
    [lost] = told(api, Kind.DATA_LOST)
    assert lost["objects"][0] == {"type": "volume", "id": uuid}
    assert lost["reason"] == f"node {node} was removed by force"
    fleet.nodes[0].faults.come_up()
    pool(1)
    check()
    assert kinds(api, about=f"volume:{uuid}")[-1] == "ReplicaReadopted"


def test_start_and_end_of_a_drain_are_events(api: Api, pool: Pool) -> None:
    nodes = pool(2)
    uuid = created(api, "v")
    node = str(Replica.objects.get(volume__uuid=uuid).backend_id)
    drained(api, node)
    settle()
    collect_overdue()
    settle()
    told_ = kinds(api, about=f"backend:{node}")
    assert told_[-1] == "DrainFinished"
    assert "DrainStarted" in told_
    [replaced] = told(api, Kind.REPLICA_REPLACED)
    [other] = set(nodes) - {node}
    assert replaced["details"]["formerBackend"] == node
    assert {"type": "backend", "id": other} in replaced["objects"]
    assert api.delete(f"/backends/{node}/drain").status == "Success"
    assert kinds(api, about=f"backend:{node}")[-1] == "DrainStopped"


def test_the_removal_of_a_drained_node_records_the_end_of_its_drain(api: Api, pool: Pool) -> None:
    [node] = pool(1)
    assert api.post(f"/backends/{node}/drain").status == "Success"
    assert api.delete(f"/backends/{node}").status == "Success"
    assert kinds(api, about=f"backend:{node}")[-2:] == ["DrainFinished", "BackendRemoved"]


def test_events_of_a_task_remain_after_it_is_no_longer_listed(api: Api, pool: Pool) -> None:
    pool(2)
    uuid = created(api, "v")
    replica = Replica.objects.get(volume__uuid=uuid)
    replica_sync_submit(volume_uuid=uuid, outgoing_uuid=replica.uuid)
    task = Task.objects.get()
    while active():
        work()
    Task.objects.all().delete()
    assert kinds(api, about=f"task:{task.pk}")[0] in {"ReplicasPlaced", "TaskBegun"}
    assert kinds(api, about=f"task:{task.pk}")[-1] == "TaskFinished"
    begun = told(api, Kind.TASK_BEGUN)[0]
    assert {"type": "volume", "id": uuid} in begun["objects"]


def test_creating_changing_and_deleting_a_tenant_are_events(api: Api, pool: Pool) -> None:
    pool(1)
    limits = {"totalIOPS": 0, "totalBW": 0}
    body = {"tenantId": "t1", "name": "one", "capacity": 5} | limits
    assert api.post("/tenants", body).status == "Success"
    assert api.put("/tenants/t1", {"capacity": 7} | limits).status == "Success"
    assert api.delete("/tenants/t1").status == "Success"
    assert kinds(api, about="tenant:t1") == ["TenantCreated", "TenantChanged", "TenantDeleted"]


def test_refused_logins_are_counted_and_name_no_user(api: Api) -> None:
    for credentials in ("Bearer x", "Bearer y", "Basic eDp5"):
        assert Api(api.url, credentials).get("/tasks").http == 401
    [refused] = told(api, Kind.LOGINS_REFUSED)
    assert refused["details"]["client"] == "127.0.0.1"
    assert login_attempts.REFUSED._counts[""].uncounted == 2


def test_a_refused_login_to_the_pages_is_recorded(api: Api, client: Client) -> None:
    form = {"username": "nobody", "password": "wrong"}
    assert client.post("/admin/login/", form, secure=True).status_code == 200
    [refused] = told(api, Kind.LOGINS_REFUSED)
    assert refused["reason"] == "wrong user name or password"
    assert "nobody" not in str(refused)


def test_issued_and_revoked_tokens_are_events(api: Api, make_admin: Api) -> None:
    for _ in range(2):
        assert make_admin.post("/token", {"roles": ["MONITOR"]}).status == "Success"
    [issued] = told(api, Kind.TOKENS_ISSUED)
    assert {"type": "user", "id": "boss"} in issued["objects"]
    call_command("token_create", name="job", roles=["MONITOR"], expiration=3600)
    call_command("token_revoke", id="00000000-0000-0000-0000-000000000000")
    assert kinds(api)[-2:] == ["TokensIssued", "TokenRevoked"]
    assert told(api)[-1]["actor"]["type"] == "command"


def test_a_database_that_may_be_older_is_one_event(api: Api) -> None:
    for _ in range(2):
        database_doubt_set("a node is newer")
    [barred] = told(api, Kind.WRITES_BARRED)
    assert (barred["severity"], barred["reason"]) == ("critical", "a node is newer")
