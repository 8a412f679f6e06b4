"""A token bound to one tenant cannot reach another tenant's objects, however it names them.

The table covers every operation; a new one must be added.
"""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from inventory.models import Host
from inventory.views.backend_json import OF_POOL
from inventory.views.probe import PROBE as NODE_PROBE
from provisioner.access.permissions import ALLOWED, OF_TENANTS
from provisioner.access.principals import Role
from tasks.models import Task, TaskType
from tasks.services import task_create
from tests.api.bad_input_steps import counts
from tests.api.replicas_steps import all_available
from tests.api.roles_steps import guarded, routes_without
from tests.api.tenant_matrix_steps import PROBE, UNSEEN, filled
from tests.api.volume_steps import HOST, created, probe_host, published
from tests.conftest import Api

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


NOT_A_TENANTS = {
    "backends.list": "nodes belong to all; their numbers are not shown",
    "backends.retrieve": "nodes belong to all; their numbers are not shown",
    "token.create": "tests/api/test_console_tenants.py: it takes name and password, no token",
}
"""Operations that can name no tenant's object."""

CALLS: dict[str, list[tuple[str, Any]]] = {
    "tenants.list": [("GET /tenants", None)],
    "events.list": [
        ("GET /events", None),
        ("GET /events?about=volume:{volume}", None),
        ("GET /events?about=tenant:t2", None),
    ],
    "hosts.list": [
        ("GET /hosts", None),
        ("GET /hosts?hostName=theirs", None),
        ("GET /hosts?hostId={theirhost}", None),
    ],
    "host_probe.create": [("POST /host_probe", {**PROBE, "hostId": "{theirhost}"})],
    "volumes.create": [
        ("POST /t2/volumes", {"alias": "new", "capacity": 1}),
        ("POST /volumes", {"alias": "new", "capacity": 1, "tenantId": "t2"}),
        ("POST /t2/volumes?dryRun=true", {"alias": "new", "capacity": 1}),
    ],
    "volumes.update": [
        ("PATCH /t2/volumes/{volume}", {"newCapacity": 20}),
        ("PATCH /t1/volumes/{volume}", {"newCapacity": 20}),
        ("PATCH /volumes/{volume}", {"newCapacity": 20}),
    ],
    "volumes.destroy": [
        ("DELETE /t2/volumes/{idle}", None),
        ("DELETE /t1/volumes/{idle}", None),
        ("DELETE /volumes/{idle}", None),
    ],
    "volumes.list": [
        ("GET /t2/volumes", None),
        ("GET /t1/volumes", None),
        ("GET /volumes", None),
        ("GET /volumes?hostID={host}", None),
        ("GET /volumes?backendId={backend}", None),
        ("GET /volumes?limit=5&offset=0", None),
    ],
    "volumes.retrieve": [
        ("GET /t2/volumes/{volume}", None),
        ("GET /t1/volumes/{volume}", None),
        ("GET /volumes/{volume}", None),
    ],
    "volumes.by_alias": [
        ("GET /t2/volumes_by_alias/theirs", None),
        ("GET /t1/volumes_by_alias/theirs", None),
        ("GET /volumes_by_alias/theirs", None),
    ],
    "volumes.extended": [
        ("GET /t2/volume_extended/{volume}", None),
        ("GET /t1/volume_extended/{volume}", None),
        ("GET /volume_extended/{volume}", None),
    ],
    "snapshots.create": [
        ("POST /t2/snapshots", {"alias": "new", "volumeID": "{idle}"}),
        ("POST /t1/snapshots", {"alias": "new", "volumeID": "{idle}"}),
        ("POST /snapshots", {"alias": "new", "volumeID": "{idle}"}),
        ("POST /snapshots", {"alias": "new", "volumeID": "{idle}", "tenantId": "t2"}),
    ],
    "snapshots.destroy": [
        ("DELETE /t2/snapshots/{snapshot}", None),
        ("DELETE /t1/snapshots/{snapshot}", None),
        ("DELETE /snapshots/{snapshot}", None),
    ],
    "snapshots.list": [
        ("GET /t2/snapshots", None),
        ("GET /t1/snapshots", None),
        ("GET /snapshots", None),
    ],
    "snapshots.retrieve": [
        ("GET /t2/snapshots/{snapshot}", None),
        ("GET /t1/snapshots/{snapshot}", None),
        ("GET /snapshots/{snapshot}", None),
    ],
    "snapshots.by_volume": [
        ("GET /t2/snapshots_by_vol/{source}", None),
        ("GET /t1/snapshots_by_vol/{source}", None),
        ("GET /snapshots_by_vol/{source}", None),
    ],
    "snapshots.by_alias": [
        ("GET /t2/snapshots_by_alias/snap", None),
        ("GET /t1/snapshots_by_alias/snap", None),
        ("GET /snapshots_by_alias/snap", None),
    ],
    "snapshot_volumes.create": [
        ("POST /t2/snapshot_volumes", {"alias": "new", "snapshotID": "{snapshot}"}),
        ("POST /t1/snapshot_volumes", {"alias": "new", "snapshotID": "{snapshot}"}),
        ("POST /snapshot_volume", {"alias": "new", "snapshotID": "{snapshot}"}),
        ("POST /snapshot_volumes", {"alias": "new", "snapshotID": "{snapshot}"}),
        ("POST /t1/snapshot_volume", {"alias": "new", "snapshotID": "{snapshot}"}),
    ],
    "clone_volume.create": [
        ("POST /t2/clone_volume", {"alias": "new", "sourceVolumeId": "{idle}"}),
        ("POST /t1/clone_volume", {"alias": "new", "sourceVolumeId": "{idle}"}),
        ("POST /clone_volume", {"alias": "new", "sourceVolumeId": "{idle}"}),
    ],
    "replicas.create": [
        ("POST /t2/replica/{volume}", {}),
        ("POST /t1/replica/{volume}", {}),
        ("POST /replica/{volume}", {}),
    ],
    "replicas.mark": [
        ("PATCH /t2/replica/{volume}/{replica}", None),
        ("PATCH /t1/replica/{volume}/{replica}", None),
        ("PATCH /replica/{volume}/{replica}", None),
    ],
    "replicas.confirm": [
        ("DELETE /t2/replica/{volume}/{replica}", None),
        ("DELETE /t1/replica/{volume}/{replica}", None),
        ("DELETE /replica/{volume}/{replica}", None),
    ],
    "replicas.report": [
        ("PATCH /t2/replica/{volume}/{replica}/Missing", None),
        ("PATCH /t1/replica/{volume}/{replica}/Missing", None),
        ("PATCH /replica/{volume}/{replica}/Missing", None),
    ],
    "migrate_volume.create": [
        ("POST /t2/migrate_volume", {"volId": "{volume}", "repId": "{replica}"}),
        ("POST /t1/migrate_volume", {"volId": "{volume}", "repId": "{replica}"}),
        ("POST /migrate_volume", {"volId": "{volume}", "repId": "{replica}"}),
    ],
    "publish.create": [
        ("POST /t2/publish", {"volId": "{idle}", "hostId": "{host}"}),
        ("POST /t1/publish", {"volId": "{idle}", "hostId": "{host}"}),
        ("POST /publish", {"volId": "{idle}", "hostId": "{host}"}),
        ("POST /t1/publish", {"volId": "{ours}", "hostId": "{theirhost}"}),
        ("POST /publish", {"volId": "{ours}", "hostId": "{theirhost}"}),
    ],
    "connect.create": [
        ("POST /t2/connect", {"volId": "{volume}", "hostId": "{host}"}),
        ("POST /t1/connect", {"volId": "{volume}", "hostId": "{host}"}),
        ("POST /connect", {"volId": "{volume}", "hostId": "{host}"}),
    ],
    "disconnect.create": [
        ("POST /t2/disconnect", {"volId": "{volume}", "hostId": "{host}"}),
        ("POST /t1/disconnect", {"volId": "{volume}", "hostId": "{host}"}),
        ("POST /disconnect", {"volId": "{volume}", "hostId": "{host}"}),
    ],
    "unpublish.create": [
        ("POST /t2/unpublish", {"volId": "{volume}", "hostId": "{host}"}),
        ("POST /t1/unpublish", {"volId": "{volume}", "hostId": "{host}"}),
        ("POST /unpublish", {"volId": "{volume}"}),
    ],
    "targets.list": [
        ("GET /t2/targets", None),
        ("GET /targets", None),
        ("GET /targets?hostId={host}", None),
        ("GET /targets?volId={volume}", None),
        ("GET /targets?hostId={host}&volId={volume}", None),
    ],
    "tasks.list": [
        ("GET /tasks", None),
        ("GET /tasks?hostId={host}", None),
        ("GET /tasks?taskId={task}", None),
    ],
    "tasks.update": [("PUT /tasks", {"taskId": "{task}", "hostId": "{host}", "progress": 5})],
    "tasks.destroy": [("DELETE /tasks?taskId={task}", None)],
}


@pytest.fixture
def theirs(api: Api, pool: Pool) -> dict[str, str]:
    """The objects of tenant t2: a volume in use with a task, and an idle one."""
    nodes = pool(4)
    for tenant in ("t1", "t2"):
        budget = {"tenantId": tenant, "name": tenant, "capacity": 0, "totalIOPS": 0, "totalBW": 0}
        assert api.post("/tenants", budget).status == "Success"
    volume = created(api, "theirs", "/t2/volumes", storageClass={"numReplicas": 2})
    idle = created(api, "idle", "/t2/volumes")
    published(api, volume, probe_host(api))
    their_host = probe_host(api, "their-host", name="theirs")
    call_command("host_assign", their_host, "--tenant", "t2")
    replica, _ = all_available(api, volume)
    source = created(api, "source", "/t2/volumes")
    snapshot = api.post("/t2/snapshots", {"alias": "snap", "volumeID": source})
    assert snapshot.status == "Success"
    task = task_create(
        type=TaskType.REMOTE_MIGRATION, host_id=HOST, volume_id=volume, tenant_id="t2"
    )
    return {
        "volume": volume,
        "idle": idle,
        "source": source,
        "snapshot": snapshot.body["persistentId"],
        "replica": replica,
        "host": HOST,
        "theirhost": their_host,
        "ours": created(api, "ours", "/t1/volumes"),
        "backend": nodes[0],
        "task": task.task_id,
    }


def test_the_table_covers_every_operation_of_tenants() -> None:
    assert set(CALLS) | set(NOT_A_TENANTS) == OF_TENANTS
    assert set(ALLOWED) > OF_TENANTS
    rows = {line: [request for request, _ in calls] for line, calls in CALLS.items()}
    assert routes_without(rows) == []


def test_nothing_of_another_tenant_is_seen_or_changed(api: Api, theirs: dict[str, str]) -> None:
    bound = api.as_role("ADMIN", tenant="t1")
    before = counts(), api.get("/t2/volumes").body, list(Task.objects.values())
    for line, calls in CALLS.items():
        for request, body in calls:
            method, _, path = filled(request, theirs).partition(" ")
            answer = bound.call(method, path, filled(body, theirs))
            case = f"{line}: {request}: {answer}"
            assert answer.http == 200, case
            if isinstance(answer.body, dict):
                assert answer.status in UNSEEN, case
            elif line == "tenants.list":
                assert [row["tenantId"] for row in answer.body] == ["t1"]
            elif line == "events.list":
                assert {row["tenantId"] for row in answer.body} <= {"t1"}, case
                assert not [row for row in answer.body if "placement" in row["details"]], case
            elif request == "GET /hosts":
                assert [row["uuid"] for row in answer.body] == [HOST]
            else:
                assert [row for row in answer.body if row.get("uuid") != theirs["ours"]] == [], case
    now = counts(), api.get("/t2/volumes").body, list(Task.objects.values())
    assert [_timeless(part) for part in now] == [_timeless(part) for part in before]


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k != "currentStateTime"}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


def test_operations_on_the_whole_pool_are_refused(api: Api) -> None:
    """Operations that are not listed for tenants are refused to them. So new operations are
    refused, too.
    """
    for role in Role:
        bound = api.as_role(role, tenant="t1")
        for method, path, line in guarded():
            if line not in OF_TENANTS and role is not Role.HOST:
                answer = bound.call(method, f"/{path}", {})
                assert answer.http == 403, (role, method, path, answer)


def test_a_tenant_cannot_raise_its_budget_or_probe_for_nodes(
    api: Api, theirs: dict[str, str]
) -> None:
    bound = api.as_role("ADMIN", tenant="t2")
    budget = {"capacity": 0, "totalIOPS": 0, "totalBW": 0}
    assert bound.put("/tenants/t2", budget).http == 403
    assert bound.delete("/tenants/t2").http == 403
    node = {"persistentID": theirs["backend"]}
    assert bound.post("/probe", NODE_PROBE | node).http == 403
    log = {"loggingType": "EVENT", "level": "INFO", "host": "h", "appName": "a", "message": "m"}
    assert bound.post("/forward_log", log).http == 403


def test_a_host_added_by_a_tenants_caller_belongs_to_the_tenant(
    api: Api, theirs: dict[str, str]
) -> None:
    ours = api.as_role("ADMIN", tenant="t1")
    probe_host(ours, "our-host")
    assert "our-host" in {row["uuid"] for row in ours.get("/hosts").body}
    theirs_alone = api.as_role("ADMIN", tenant="t2")
    assert "our-host" not in {row["uuid"] for row in theirs_alone.get("/hosts").body}
    other = {"volId": theirs["idle"], "hostId": "our-host"}
    for caller in (theirs_alone, api):
        assert caller.post("/publish", other).status == "HostNotFound"
    assert (
        ours.post("/publish", {"volId": theirs["ours"], "hostId": "our-host"}).status == "Success"
    )


def test_a_tenants_caller_cannot_change_the_nqn_of_a_shared_host(
    api: Api, theirs: dict[str, str]
) -> None:
    """Otherwise volumes of other tenants would be exported to the new NQN."""
    ours = api.as_role("ADMIN", tenant="t1")
    answer = ours.post("/host_probe", PROBE | {"hostId": HOST, "hostNqn": "nqn.2020-01.x:evil"})
    assert answer.status == "AlreadyExists"
    assert Host.objects.get(pk=HOST).nqn == f"nqn.2014-08.org.nvmexpress:uuid:{HOST}"
    same = {"hostId": HOST, "hostNqn": f"nqn.2014-08.org.nvmexpress:uuid:{HOST}"}
    assert ours.post("/host_probe", PROBE | same).status == "Success"
    own = api.as_role("HOST", tenant="t1", host=HOST)
    changed = PROBE | {"hostId": HOST, "hostNqn": "nqn.2020-01.x:new"}
    assert own.post("/host_probe", changed).status == "Success"
    assert Host.objects.get(pk=HOST).tenant_id == ""


def test_nodes_show_nothing_of_the_pool_to_a_tenant(api: Api, theirs: dict[str, str]) -> None:
    ours = api.as_role("STORAGE", tenant="t1")
    for path in ("/backends", f"/backends/{theirs['backend']}"):
        [shown, *_], [whole, *_] = ours.get(path).body, api.get(path).body
        assert set(whole) - set(shown) == set(OF_POOL)
        assert shown.items() <= whole.items()
        assert shown["portals"]


def test_a_dry_run_tells_a_tenant_why_a_node_is_refused_but_no_numbers_of_the_node(
    api: Api, theirs: dict[str, str]
) -> None:
    wanted = {"alias": "x", "capacity": 100_000}
    answers = {
        caller: caller.post("/t1/volumes?dryRun=true", wanted).body["refused"]
        for caller in (api, api.as_role("STORAGE", tenant="t1"))
    }
    whole, shown = answers.values()
    assert len(shown) == 4
    required = "100000 GiB are required"
    assert {(row["filter"], row["reason"]) for row in shown} == {("space", required)}
    for row, of_tenant in zip(whole, shown, strict=True):
        assert row["backend"] == of_tenant["backend"]
        assert row["reason"].endswith(f" are free, {required}")


def test_a_shared_host_shows_nothing_of_another_tenants_volume(
    api: Api, theirs: dict[str, str]
) -> None:
    ours = api.as_role("ADMIN", tenant="t1")
    published(api, theirs["ours"], HOST)
    assert len(ours.get("/targets", volId=theirs["ours"]).body) == 1
    assert ours.get("/targets", volId=theirs["volume"]).body == []
    assert api.get("/t1/targets", volId=theirs["volume"]).body == []


def test_a_refusal_shows_nothing_of_another_tenants_host(api: Api, theirs: dict[str, str]) -> None:
    ours = api.as_role("ADMIN", tenant="t1")
    known = Host.objects.get(pk=theirs["theirhost"])
    answer = ours.post("/host_probe", PROBE | {"hostId": "our-host", "hostNqn": known.nqn})
    assert answer.status == "AlreadyExists"
    assert answer.description == f"NQN {known.nqn!r} is in use, so host 'our-host' cannot have it"
    texts = []
    for host in (known.pk, "absent"):
        for path in ("/publish", "/unpublish"):
            answer = ours.post(path, {"volId": theirs["ours"], "hostId": host})
            assert answer.status == "HostNotFound"
            texts.append(answer.description.replace(host, "HOST"))
    assert texts[:2] == texts[2:]


def test_the_command_host_assign_gives_a_host_to_a_tenant(api: Api, theirs: dict[str, str]) -> None:
    for wrong in (["their-host", "--tenant", "none"], ["none"]):
        with pytest.raises(CommandError, match="There is no"):
            call_command("host_assign", *wrong)
    call_command("host_assign", "their-host")
    ours = api.as_role("ADMIN", tenant="t1")
    assert "their-host" in {row["uuid"] for row in ours.get("/hosts").body}
