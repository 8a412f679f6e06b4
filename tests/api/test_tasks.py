"""``/tasks``."""

import datetime as dt

import pytest
from django.utils import timezone

from provisioner.access.principals import Role
from tasks.models import ENDED, TRANSITIONS, Task, TaskState, TaskType
from tasks.services import ended_purge, task_create

pytestmark = pytest.mark.django_db(transaction=True)

MIGRATION = TaskType.REMOTE_MIGRATION
INVENTORY = TaskType.FETCH_INVENTORY
SUCCESS = {"status": "Success", "description": "Success"}


def make(state=TaskState.IDLE, *, ended_ago=0.0, **fields):
    """Create a task of the host h1, as a service does, and set its ``state``. ``ended_ago``: in
    minutes.
    """
    task = task_create(**{"type": MIGRATION, "host_id": "h1"} | fields)
    ended_at = timezone.now() - dt.timedelta(minutes=ended_ago) if state in ENDED else None
    Task.objects.filter(pk=task.pk).update(state=state, ended_at=ended_at)
    return task.pk


def put(api, task_id, **fields):
    return api.put("/tasks", {"taskId": task_id, "hostId": "h1"} | fields)


def listed(answer):
    assert answer.http == 200
    return {task["taskId"] for task in answer.body}


def only(api):
    [task] = api.get("/tasks").body
    return task


def test_a_new_task_is_listed_as_idle(api):
    task = task_create(
        type=MIGRATION, host_id="h1", volume_id="v1", params={"volId": "v1", "replicaId": "r1"}
    )
    assert only(api) == {
        "taskId": task.pk,
        "type": "RemoteMigration",
        "state": "IDLE",
        "hostId": "h1",
        "progress": 0.0,
        "stoppable": False,
        "taskConfiguration": [
            {"name": "volId", "value": "v1"},
            {"name": "replicaId", "value": "r1"},
        ],
        "waitsFor": "the host",
    }


def test_a_host_reports_its_task_until_the_end(api):
    host = api.as_role(Role.HOST, host="h1")
    task_id = make(stoppable=True)
    assert put(host, task_id, state="RUNNING", progress=12.5).body == SUCCESS
    running = only(host)
    assert (running["state"], running["progress"]) == ("RUNNING", 12.5)
    started = dt.datetime.strptime(running["startDate"] + "+0000", "%Y-%m-%dT%H:%M:%S.%f%z")
    assert abs(timezone.now() - started) < dt.timedelta(seconds=10)
    assert len(running["startDate"]) == len("2020-02-19T09:48:01.037")
    assert "endDate" not in running

    answer = put(
        host,
        task_id,
        state="FINISHED",
        taskStatus="Success",
        statusDescription="moved",
        type="RemoteMigration",
        taskConfiguration=[{"name": "volId", "value": "v2"}],
    )
    assert answer.body == SUCCESS
    ended = only(host)
    assert len(ended.pop("endDate")) == len("2020-02-19T09:48:01.037")
    assert ended == {
        "taskId": task_id,
        "type": "RemoteMigration",
        "state": "FINISHED",
        "hostId": "h1",
        "progress": 100.0,
        "stoppable": True,
        "startDate": running["startDate"],
        "taskStatus": "Success",
        "statusDescription": "moved",
        "taskConfiguration": [{"name": "volId", "value": "v2"}],
    }


def test_an_idle_task_has_no_task_status(api):
    task_id = make()
    put(api, task_id, taskStatus="Success", statusDescription="seen")
    assert "taskStatus" not in only(api)
    assert only(api)["statusDescription"] == "seen"
    put(api, task_id, state="RUNNING")
    assert only(api)["taskStatus"] == "Success"


def test_progress_never_falls(api):
    task_id = make(TaskState.RUNNING)
    for given, shown in [(40, 40.0), ("55.5", 55.5), (12, 55.5), (55.5, 55.5)]:
        assert put(api, task_id, progress=given).status == "Success"
        assert only(api)["progress"] == shown


def test_a_failed_task_keeps_its_progress(api):
    task_id = make(TaskState.RUNNING)
    put(api, task_id, progress=40)
    assert put(api, task_id, state="FAILED", taskStatus="NoFreeSpace").status == "Success"
    assert only(api)["progress"] == 40.0


@pytest.mark.parametrize("start", sorted(TRANSITIONS))
@pytest.mark.parametrize("end", sorted(TRANSITIONS))
def test_a_task_changes_its_state_only_by_the_table_of_transitions(api, start, end):
    task_id = make(start, stoppable=True)
    answer = put(api, task_id, state=end.value)
    if start in ENDED:
        assert answer.status == "TaskEnded"
        assert answer.description == f"task '{task_id}' has already ended: it is {start.value}"
    elif end is start or end in TRANSITIONS[start]:
        assert answer.status == "Success"
    else:
        assert answer.status == "UpdateTaskFailed"
        assert answer.description == (
            f"task '{task_id}' (RemoteMigration, {start.value}) cannot become {end.value}"
        )
    assert answer.http == 200
    assert only(api)["state"] == (end.value if answer.status == "Success" else start.value)


@pytest.mark.parametrize("state", [TaskState.IDLE, TaskState.RUNNING])
def test_a_task_that_is_not_stoppable_cannot_be_aborted(api, state):
    task_id = make(state)
    answer = put(api, task_id, state="ABORTED")
    assert (answer.http, answer.status) == (200, "UpdateTaskFailed")
    assert answer.description == (
        f"task '{task_id}' (RemoteMigration, {state.value}, not stoppable) cannot become ABORTED"
    )
    assert only(api)["state"] == state.value


@pytest.mark.parametrize(
    ("said", "become"),
    [
        ({"state": "FAILED"}, "FAILED"),
        ({"state": "FINISHED"}, "FINISHED"),
        ({"taskConfiguration": []}, "otherwise configured"),
    ],
)
def test_a_client_cannot_end_a_task_that_a_worker_carries_out(api, said, become):
    """Otherwise a host could end a task that cannot be stopped, or take over a task that is not its
    own.
    """
    task_id = Task.objects.create(type=TaskType.INSTALL_LICENSE, state=TaskState.RUNNING).pk
    answer = api.as_role(Role.STORAGE).put("/tasks", {"taskId": task_id, "hostId": ""} | said)
    assert answer.status == "UpdateTaskFailed"
    assert answer.description == (
        f"task '{task_id}' (InstallLicense, RUNNING, not stoppable) cannot become {become}"
    )
    assert Task.objects.get().state == "RUNNING"


def test_the_type_of_a_task_cannot_change(api):
    task_id = make()
    answer = put(api, task_id, type="InstallLicense", progress=5)
    assert answer.status == "UpdateTaskFailed"
    assert (only(api)["type"], only(api)["progress"]) == ("RemoteMigration", 0.0)


def test_an_update_without_values_changes_nothing(api):
    assert put(api, make()).status == "Success"
    assert put(api, "unknown").status == "TaskNotFound"


def test_a_task_that_is_unknown_or_of_another_host_is_not_found(api):
    answer = put(api, "unknown", progress=1)
    assert (answer.http, answer.status) == (200, "TaskNotFound")
    assert answer.description == "host 'h1' has no task 'unknown'"
    assert put(api, make(host_id="h2"), progress=1).status == "TaskNotFound"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("state", "DONE"),
        ("type", "Backup"),
        ("progress", -0.1),
        ("progress", 100.1),
        ("progress", "nan"),
        ("progress", True),
        ("progress", "much"),
        ("taskStatus", "x" * 256),
        ("statusDescription", ["a"]),
        ("taskConfiguration", {"name": "a"}),
        ("taskConfiguration", [{"value": "a"}]),
        ("taskConfiguration", ["a"]),
        ("hostId", "a b"),
    ],
)
def test_a_wrong_field_is_refused_and_named(api, field, value):
    task_id = make()
    answer = put(api, task_id, **{field: value})
    assert (answer.http, answer.status) == (400, "InvalidInput")
    assert answer.description.startswith(field)
    assert Task.objects.get().progress == 0


@pytest.mark.parametrize("missing", ["taskId", "hostId"])
def test_a_missing_mandatory_field_is_named(api, missing):
    fields = {"taskId": make(), "hostId": "h1", "progress": 5}
    del fields[missing]
    answer = api.put("/tasks", fields)
    assert (answer.http, answer.status) == (400, "InvalidInput")
    assert answer.description == f"{missing} = None: This field is required."


def test_tasks_are_listed_by_id_or_host(api):
    first, second, other = make(), make(), make(host_id="h2")
    assert listed(api.get("/tasks")) == {first, second, other}
    assert listed(api.get("/tasks", hostId="h1")) == {first, second}
    assert listed(api.get("/tasks", HOSTID="h2")) == {other}
    assert listed(api.get("/tasks", taskid=second)) == {second}
    assert listed(api.get("/tasks", hostId="h3")) == set()
    assert listed(api.get("/tasks", taskId="unknown")) == set()
    ids = [task["taskId"] for task in api.get("/tasks").body]
    assert ids == sorted(ids)


def test_a_list_by_id_and_host_is_refused(api):
    answer = api.get("/tasks", taskId=make(), hostId="h1")
    assert (answer.http, answer.status) == (400, "InvalidInput")
    assert answer.description == "hostId = 'h1': only one of taskId and hostId may be given"


def test_ended_tasks_are_not_listed_after_their_retention(api):
    inventory = make(TaskState.FINISHED, type=INVENTORY, ended_ago=29)
    of_host = {make(TaskState.FAILED, ended_ago=23 * 60 + 59), make(TaskState.IDLE)}
    make(TaskState.FINISHED, type=INVENTORY, ended_ago=30)
    make(TaskState.ABORTED, ended_ago=24 * 60)
    assert listed(api.get("/tasks")) == of_host | {inventory}
    assert listed(api.get("/tasks", hostId="h1")) == of_host
    assert Task.objects.count() == 5
    assert ended_purge() == 2
    assert set(Task.objects.values_list("pk", flat=True)) == of_host | {inventory}


@pytest.mark.parametrize("state", sorted(ENDED))
def test_an_ended_task_can_be_deleted(api, state):
    gone, kept = make(state), make(state)
    assert api.delete("/tasks", taskId=gone).body == SUCCESS
    assert listed(api.get("/tasks")) == {kept}
    assert api.delete("/tasks", TaskID=kept, hostId="h1").status == "Success"
    assert listed(api.get("/tasks")) == set()


@pytest.mark.parametrize("state", [TaskState.IDLE, TaskState.RUNNING])
def test_an_active_task_cannot_be_deleted(api, state):
    task_id = make(state)
    answer = api.delete("/tasks", taskId=task_id)
    assert (answer.http, answer.status) == (200, "OngoingTask")
    assert answer.description == (
        f"task '{task_id}' is {state.value}: a task can be removed when it has ended"
    )
    assert listed(api.get("/tasks")) == {task_id}


def test_deleting_an_unknown_task_is_refused(api):
    answer = api.delete("/tasks", taskId="unknown")
    assert (answer.http, answer.status) == (200, "NoTask")
    assert answer.description == "there is no task 'unknown'"


@pytest.mark.parametrize("state", sorted(TRANSITIONS))
def test_the_task_of_another_host_cannot_be_deleted(api, state):
    task_id = make(state)
    answer = api.delete("/tasks", taskId=task_id, hostId="h2")
    assert (answer.http, answer.status) == (200, "TaskBelongsToOtherHost")
    assert answer.description == f"task '{task_id}' belongs to a host other than 'h2'"
    assert listed(api.get("/tasks")) == {task_id}


def test_a_delete_without_task_id_is_refused(api):
    answer = api.delete("/tasks", hostId="h1")
    assert (answer.http, answer.status) == (400, "InvalidInput")


def test_a_caller_of_a_tenant_sees_only_its_tasks(api):
    mine = make(TaskState.FINISHED, tenant_id="t1")
    other = make(TaskState.FINISHED, tenant_id="t2")
    make(TaskState.FINISHED, type=INVENTORY)
    bound = api.as_role(Role.STORAGE, tenant="t1")
    assert listed(bound.get("/tasks")) == {mine}
    assert listed(bound.get("/tasks", hostId="h1")) == {mine}
    assert listed(bound.get("/tasks", taskId=other)) == set()
    assert put(bound, other, progress=1).status == "TaskNotFound"
    assert bound.delete("/tasks", taskId=other).status == "NoTask"
    assert bound.delete("/tasks", taskId=mine).status == "Success"


def test_roles_without_the_right_are_refused(api):
    task_id = make()
    for role in (Role.MONITOR, Role.HOST, Role.STORAGE):
        assert api.as_role(role).get("/tasks").http == 200
    assert api.as_role(Role.NODE, node="n").get("/tasks").http == 403
    assert put(api.as_role(Role.MONITOR), task_id, progress=1).http == 403
    assert api.as_role(Role.HOST).delete("/tasks", taskId=task_id).http == 403
