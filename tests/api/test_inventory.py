"""``/inventory`` and ``/reset_inventory``."""

import time

import pytest
from django.db.models import F

from inventory.jobs import update_inventory
from inventory.models import Backend, InventorySample
from inventory.services.pool import samples
from inventory.services.pool.samples import task_number
from provisioner.access.principals import Role
from tasks import context as tasks_context
from tasks import runner
from tasks.models import Task, TaskState, TaskType
from tests.api.inventory_steps import take_sample

pytestmark = pytest.mark.django_db(transaction=True)

NONE = [{"change": "NONE", "tags": []}]


def entry(persistent_id, **fields):
    known = {"version": "3.22.1", "state": "AVAILABLE", "numSSDs": 4}
    return {"hardwareId": persistent_id} | known | fields


def change(kind, entry):
    names = {"id": "hardwareId", "version": "version", "state": "state", "numSSDs": "numSSDs"}
    tags = [{"name": name, "value": str(entry[key])} for name, key in names.items()]
    return {"change": kind, "tags": tags}


def last(api):
    """Return the newest sample: its backends and changes."""
    sample = api.get("/inventory").body["inventorySamples"][-1]
    return sample["backends"], sample["changes"]


def test_first_call_waits_for_the_first_sample(api, pool, worker):
    ids = sorted(pool(2))
    before = int(time.time() * 1000)
    answer = api.get("/inventory")
    assert answer.http == 200
    assert set(answer.body) == {"inventorySamples", "taskId"}
    [sample] = answer.body["inventorySamples"]
    at = sample.pop("timestamp")
    assert before - 1000 <= at <= time.time() * 1000 + 1000, "it is of the database's clock"
    entries = [entry(persistent_id) for persistent_id in ids]
    assert sample == {"backends": entries, "changes": [change("NEW", one) for one in entries]}
    [task] = api.get("/tasks", taskId=answer.body["taskId"]).body
    assert (task["type"], task["state"], task["progress"]) == ("FetchInventory", "FINISHED", 100.0)
    assert (task["taskStatus"], task["statusDescription"]) == ("Success", "Success")
    assert (task["stoppable"], task["taskConfiguration"]) == (False, [])


def test_stored_samples_are_answered_without_a_wait(api, pool):
    """The call starts a task that no worker runs. A second call starts no other task."""
    pool(1)
    take_sample()
    first, second = api.get("/inventory"), api.get("/inventory")
    assert len(first.body["inventorySamples"]) == 1
    assert first.body == second.body
    task = Task.objects.get(pk=first.body["taskId"])
    assert (task.type, task.state) == ("FetchInventory", "IDLE")
    runner.run(task.pk)
    third = api.get("/inventory")
    assert third.body["taskId"] != task.pk
    assert [sample["changes"] for sample in third.body["inventorySamples"][1:]] == [NONE]


def test_wait_for_the_first_sample_is_bounded(api, pool, monkeypatch):
    monkeypatch.setattr(samples, "ANSWER_SECONDS", 0.3)
    pool(1)
    started = time.monotonic()
    answer = api.get("/inventory")
    assert 0.3 <= time.monotonic() - started < 3
    assert answer.body["inventorySamples"] == []
    assert Task.objects.get().pk == answer.body["taskId"]


def test_an_empty_pool_has_an_empty_sample(api):
    take_sample()
    assert last(api) == ([], NONE)


def test_changes_between_samples_are_listed(api, pool, fleet):
    ids = pool(2)
    first, second = fleet.nodes[:2]
    take_sample()
    assert last(api)[1] == [change("NEW", entry(one)) for one in sorted(ids)]

    first.faults.go_down()
    second.change(ssds=second.engine._facts.ssds[1:], version="3.23.1")
    take_sample()
    now = {
        first.persistent_id: entry(first.persistent_id, state="UNAVAILABLE"),
        second.persistent_id: entry(second.persistent_id, version="3.23.1", numSSDs=3),
    }
    ordered = [now[one] for one in sorted(ids)]
    assert last(api) == (ordered, [change("MODIFIED", one) for one in ordered])

    take_sample()
    assert last(api) == (ordered, NONE)

    Backend.objects.filter(pk=first.persistent_id).delete()
    take_sample()
    assert last(api) == (
        [now[second.persistent_id]],
        [change("REMOVED", now[first.persistent_id])],
    )


def test_node_that_answers_for_another_is_unavailable(api, pool, fleet):
    first, second = fleet.nodes[:2]
    [persistent_id] = pool(1)
    Backend.objects.get().addresses.update(port=second.port)
    Backend.objects.update(mgmt_port=second.port)
    take_sample()
    assert last(api)[0] == [entry(first.persistent_id, state="UNAVAILABLE")]
    assert persistent_id == first.persistent_id


def test_the_newest_hundred_samples_are_listed(api, pool):
    [persistent_id] = pool(1)
    InventorySample.objects.bulk_create(
        InventorySample(backends=[entry(persistent_id)]) for _ in range(100)
    )
    take_sample()
    shown = api.get("/inventory").body["inventorySamples"]
    assert [sample["changes"] for sample in shown] == [NONE] * 100
    take_sample()
    assert InventorySample.objects.count() == 101


def test_a_second_update_does_not_start_while_one_runs(api):
    update_inventory()
    update_inventory()
    assert Task.objects.filter(type=TaskType.UPDATE_INVENTORY).count() == 1


def test_progress_advances_with_each_node(api, pool, monkeypatch):
    pool(4)
    monkeypatch.setattr(tasks_context, "HEARTBEAT_SECONDS", 0)
    reached = []
    beat = tasks_context.Context.heartbeat

    def watch(context, fraction=0.0):
        beat(context, fraction)
        reached.append(Task.objects.get(pk=context.task.pk).progress)

    monkeypatch.setattr(tasks_context.Context, "heartbeat", watch)
    take_sample()
    assert reached == [22.5, 45.0, 67.5, 90.0]


# reset


def test_reset_deletes_samples_and_takes_a_new_one(api, pool, worker):
    [persistent_id] = pool(1)
    for _ in range(2):
        InventorySample.objects.create(backends=[])
    answer = api.delete("/reset_inventory")
    assert (answer.http, answer.status, answer.description) == (200, "Success", "Success")
    assert set(answer.body) == {"status", "description", "id", "taskId"}
    assert answer.body["id"] == task_number(answer.body["taskId"])
    assert 0 <= answer.body["id"] < 2**31
    [sample] = api.get("/inventory").body["inventorySamples"]
    assert sample["backends"] == [entry(persistent_id)]
    assert sample["changes"] == [change("NEW", entry(persistent_id))]
    [task] = api.get("/tasks", taskId=answer.body["taskId"]).body
    assert (task["type"], task["state"]) == ("ResetInventory", "FINISHED")


def test_reset_reads_every_node_anew(api, pool, worker):
    pool(2)
    assert api.delete("/reset_inventory").status == "Success"
    assert Backend.objects.filter(refresh_wanted_at__gt=F("refreshed_at")).count() == 2


def test_an_empty_pool_can_be_reset(api, worker):
    assert api.delete("/reset_inventory").status == "Success"


def test_reset_fails_if_no_node_can_be_reached(api, pool, fleet, worker):
    pool(2)
    InventorySample.objects.create(backends=[])
    for node in fleet.nodes:
        node.faults.go_down()
    answer = api.delete("/reset_inventory")
    assert (answer.http, answer.status) == (200, "CommunicationError")
    assert answer.description == "none of the 2 backends can be reached"
    [task] = api.get("/tasks").body
    assert (task["type"], task["state"]) == ("ResetInventory", "FAILED")
    assert (task["taskStatus"], task["statusDescription"]) == (
        "CommunicationError",
        "none of the 2 backends can be reached",
    )
    assert InventorySample.objects.count() == 1


def test_reset_succeeds_if_one_node_can_be_reached(api, pool, fleet, worker):
    pool(2)
    fleet.nodes[0].faults.go_down()
    assert api.delete("/reset_inventory").status == "Success"


def test_a_reset_that_takes_longer_continues_after_the_answer(api, pool, monkeypatch):
    """No worker runs the task: the answer says that it was started."""
    monkeypatch.setattr(samples, "ANSWER_SECONDS", 0.2)
    pool(1)
    answer = api.delete("/reset_inventory")
    assert answer.status == "Success"
    assert Task.objects.get(pk=answer.body["taskId"]).state == TaskState.IDLE


def test_roles_without_the_right_are_refused(api, pool):
    take_sample()
    for role in (Role.STORAGE, Role.HOST):
        assert api.as_role(role).get("/inventory").http == 403
    monitor = api.as_role(Role.MONITOR)
    assert monitor.get("/inventory").http == 200
    assert monitor.delete("/reset_inventory").http == 403
