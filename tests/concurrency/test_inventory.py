"""Callers of the inventory and of tasks at once, on real transactions."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from inventory.models import Host
from inventory.services.hosts import NqnTaken, host_probe
from tasks.models import TRANSITIONS, Task, TaskState, TaskType
from tasks.services import TaskEnded, VolumeHasTask, task_create, task_update

pytestmark = pytest.mark.django_db(transaction=True)

NQN = "nqn.2014-08.org.nvmexpress:uuid:"


def at_once(*functions):
    """Run all at the same moment, each in a thread; the results or exceptions, in order."""
    barrier = threading.Barrier(len(functions))

    def run(function):
        barrier.wait()
        try:
            return function()
        except Exception as error:  # noqa: BLE001 - the test judges it
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(functions)) as threads:
        return list(threads.map(run, functions))


def host_probes(uuid, nqn, duration=30):
    return lambda: host_probe(
        uuid=uuid,
        name=uuid,
        nqn=nqn,
        client_type="Agent",
        version="1",
        duration=duration,
    )


def test_first_probes_of_one_host_at_once():
    assert at_once(*[host_probes("h", NQN + "h")] * 8) == [None] * 8
    assert Host.objects.count() == 1


def test_two_hosts_with_one_nqn_at_once():
    outcomes = at_once(*[host_probes(f"h{n}", NQN + "same") for n in range(8)])
    assert Counter(map(type, outcomes)) == {type(None): 1, NqnTaken: 7}
    assert Host.objects.count() == 1


def test_one_of_many_ends_of_a_task_happens():
    task = task_create(type=TaskType.REMOTE_MIGRATION, host_id="h", stoppable=True)
    ends = [TaskState.FINISHED, TaskState.FAILED, TaskState.ABORTED] * 3

    def end(state):
        return lambda: task_update(
            task_id=task.pk, host_id="h", state=state, task_status=state.value
        )

    outcomes = at_once(*map(end, ends))
    assert Counter(map(type, outcomes)) == {type(None): 1, TaskEnded: 8}
    task.refresh_from_db()
    assert task.state == ends[outcomes.index(None)]
    assert task.task_status == task.state
    assert not TRANSITIONS[TaskState(task.state)]


def test_progress_reports_that_overtake_each_other():
    task = task_create(type=TaskType.REMOTE_MIGRATION, host_id="h")
    reports = [
        lambda percent=percent: task_update(task_id=task.pk, host_id="h", progress=percent)
        for percent in (10, 90, 40, 70, 20, 60, 30, 80)
    ]
    assert at_once(*reports) == [None] * 8
    assert Task.objects.get().progress == 90


def test_one_task_for_a_volume_of_many_at_once():
    def create():
        return task_create(type=TaskType.REMOTE_MIGRATION, volume_id="v").state

    outcomes = at_once(*[create] * 8)
    assert Counter(map(type, outcomes)) == {TaskState: 1, VolumeHasTask: 7}
    assert Task.objects.count() == 1
