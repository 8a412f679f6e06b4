"""A token of one host cannot reach another host's objects, however it names them.

The table covers every operation that a host may call; a new one must be added.
"""

from collections.abc import Callable
from typing import Any

import pytest

from inventory.models import Host, SyslogServer
from provisioner.access.permissions import ALLOWED
from provisioner.access.principals import Role
from tasks.models import Task, TaskType
from tasks.services import task_create
from tests.api.bad_input_steps import counts
from tests.api.replicas_steps import all_available
from tests.api.roles_steps import routes_without
from tests.api.tenant_matrix_steps import PROBE, UNSEEN, filled
from tests.api.volume_steps import created, probe_host, published
from tests.conftest import Api

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]

OURS, THEIRS = "our-host", "their-host"

NO_HOSTS = {
    "backends.list": "nodes serve all hosts",
    "backends.retrieve": "nodes serve all hosts",
    "token.create": "Basic credentials only, and they are bound to no host",
}
"""Operations that name nothing of a host's."""

LOG = {"loggingType": "EVENT", "level": "INFO", "appName": "agent", "message": "m"}

CALLS: dict[str, list[tuple[str, Any]]] = {
    "host_probe.create": [
        ("POST /host_probe", {**PROBE, "hostId": THEIRS}),
        ("POST /host_probe", {**PROBE, "hostId": "a-new-host"}),
    ],
    "forward_log.create": [
        ("POST /forward_log", {**LOG, "host": "theirs"}),
        ("POST /forward_log", {**LOG, "host": THEIRS}),
        ("POST /forward_log", {**LOG, "host": "nobody"}),
    ],
    "publish.create": [("POST /publish", {"volId": "{idle}", "hostId": THEIRS})],
    "unpublish.create": [
        ("POST /unpublish", {"volId": "{volume}", "hostId": THEIRS}),
        ("POST /unpublish", {"volId": "{volume}"}),
    ],
    "targets.list": [
        ("GET /targets", None),
        (f"GET /targets?hostId={THEIRS}", None),
        ("GET /targets?volId={volume}", None),
        (f"GET /targets?hostId={THEIRS}&volId={{volume}}", None),
    ],
    "volumes.list": [
        ("GET /volumes", None),
        (f"GET /volumes?hostID={THEIRS}", None),
        ("GET /volumes?backendId={backend}", None),
        ("GET /volumes?limit=5&offset=0", None),
    ],
    "volumes.retrieve": [("GET /volumes/{volume}", None), ("GET /0/volumes/{volume}", None)],
    "volumes.by_alias": [("GET /volumes_by_alias/theirs", None)],
    "volumes.extended": [("GET /volume_extended/{volume}", None)],
    "snapshots.list": [("GET /snapshots", None)],
    "snapshots.retrieve": [("GET /snapshots/{snapshot}", None)],
    "snapshots.by_volume": [("GET /snapshots_by_vol/{source}", None)],
    "snapshots.by_alias": [("GET /snapshots_by_alias/snap", None)],
    "replicas.create": [("POST /replica/{volume}", {})],
    "replicas.mark": [("PATCH /replica/{volume}/{replica}", None)],
    "replicas.confirm": [("DELETE /replica/{volume}/{replica}", None)],
    "replicas.report": [("PATCH /replica/{volume}/{replica}/Missing", None)],
    "tasks.list": [
        ("GET /tasks", None),
        (f"GET /tasks?hostId={THEIRS}", None),
        ("GET /tasks?taskId={task}", None),
    ],
    "tasks.update": [
        ("PUT /tasks", {"taskId": "{task}", "hostId": THEIRS, "state": "FAILED"}),
        ("PUT /tasks", {"taskId": "{task}", "hostId": OURS, "state": "FAILED"}),
        ("PUT /tasks", {"taskId": "{task}", "hostId": "", "progress": 5}),
    ],
}


@pytest.fixture
def theirs(api: Api, pool: Pool) -> dict[str, str]:
    """Another host with volumes in use and a task, an idle volume, and the token's own host."""
    nodes = pool(4)
    SyslogServer.objects.create(
        url="udp://127.0.0.1:9", node_server_id=1, name="s", state=True, use_tls=False
    )
    for host, name in ((OURS, "ours"), (THEIRS, "theirs")):
        probe_host(api, host, name=name)
    volume = created(api, "theirs", storageClass={"numReplicas": 2})
    published(api, volume, THEIRS)
    replica, _ = all_available(api, volume)
    source = created(api, "source")
    published(api, source, THEIRS)
    snapshot = api.post("/snapshots", {"alias": "snap", "volumeID": source})
    assert snapshot.status == "Success"
    task = task_create(type=TaskType.REMOTE_MIGRATION, host_id=THEIRS, volume_id=volume)
    return {
        "volume": volume,
        "idle": created(api, "idle"),
        "source": source,
        "snapshot": snapshot.body["persistentId"],
        "replica": replica,
        "backend": nodes[0],
        "task": task.task_id,
    }


def rows(line: str) -> list[tuple[str, Any]]:
    """Yield the rows of the table and, if there is such a path, each row again with a tenant in the
    path.
    """
    calls = CALLS[line]
    again = [(request.replace(" /", " /0/", 1), body) for request, body in calls]
    return [*calls, *(row for row in again if is_routed(row[0], line))]


def is_routed(request: str, line: str) -> bool:
    return len(routes_without({line: [request]})) < len(routes_without({line: []}))


def test_the_table_covers_every_operation_of_hosts() -> None:
    of_hosts = {line for line, roles in ALLOWED.items() if Role.HOST in roles}
    assert set(CALLS) | set(NO_HOSTS) == of_hosts
    assert routes_without({line: [r for r, _ in rows(line)] for line in CALLS}) == []


@pytest.mark.parametrize("tenant", [None, "0"])
def test_nothing_of_another_host_is_seen_or_changed(
    api: Api, theirs: dict[str, str], tenant: str | None
) -> None:
    bound = api.as_role("HOST", host=OURS, tenant=tenant)
    before = _state(api)
    for line in CALLS:
        for request, body in rows(line):
            method, _, path = filled(request, theirs).partition(" ")
            answer = bound.call(method, path, filled(body, theirs))
            case = f"{line}: {request}: {answer}"
            if answer.http == 403:
                assert "this token is valid for host 'our-host', not for" in answer.description, (
                    case
                )
                continue
            assert answer.http == 200, case
            if isinstance(answer.body, dict):
                assert answer.status in UNSEEN | {"VolumeNotPublished"}, case
            else:
                assert answer.body == [], case
    assert _state(api) == before


def _state(api: Api) -> list[Any]:
    rows = [*Host.objects.values(), *Task.objects.values("state", "progress")]
    volumes = [
        {name: value for name, value in row.items() if name != "currentStateTime"}
        | {"location": [(p["uuid"], p["replicaState"]) for p in row["location"]]}
        for row in api.get("/volumes").body
    ]
    return [counts(), rows, volumes, api.get("/targets").body]


def test_a_host_sees_who_shares_its_volume_and_nothing_more_of_them(
    api: Api, theirs: dict[str, str]
) -> None:
    published(api, theirs["volume"], OURS)
    own = api.as_role("HOST", host=OURS)
    [other, mine] = own.get("/targets", volId=theirs["volume"]).body[::-1]
    assert [mine["name"][-8:], other["name"][-10:]] == ["our-host", "their-host"]
    assert other["numNamespaces"] == 1
    assert len(own.get("/targets").body) == 1


def test_a_host_sees_and_changes_its_own_objects(api: Api, theirs: dict[str, str]) -> None:
    own = api.as_role("HOST", host=OURS)
    assert own.post("/host_probe", PROBE | {"hostId": OURS, "name": "Ours"}).status == "Success"
    for name in ("ours", OURS):
        assert own.post("/forward_log", LOG | {"host": name}).status == "Success"
    volume = created(api, "mine", storageClass={"numReplicas": 2})
    assert own.get(f"/volumes/{volume}").body == []
    assert own.post("/publish", {"volId": volume, "hostId": OURS}).status == "Success"
    assert [row["uuid"] for row in own.get("/volumes").body] == [volume]
    assert [row["uuid"] for row in own.get("/volumes", hostID=OURS).body] == [volume]
    assert len(own.get("/targets").body) == 1
    replica, _ = all_available(own, volume)
    assert own.patch(f"/replica/{volume}/{replica}/Synchronizing").status == "Success"
    task = task_create(type=TaskType.REMOTE_MIGRATION, host_id=OURS, volume_id=volume)
    second = task_create(type=TaskType.REMOTE_MIGRATION, host_id=OURS, volume_id="another")
    both = sorted([task.task_id, second.task_id])
    assert [row["taskId"] for row in own.get("/tasks").body] == both
    for one in both:
        assert [row["taskId"] for row in own.get("/tasks", taskId=one).body] == [one]
    assert own.get("/tasks", taskId="none").body == []
    said = {"taskId": task.task_id, "hostId": OURS, "state": "RUNNING"}
    assert own.put("/tasks", said).status == "Success"
    assert own.post("/unpublish", {"volId": volume}).status == "Success"
    assert own.get(f"/volumes/{volume}").body == []
