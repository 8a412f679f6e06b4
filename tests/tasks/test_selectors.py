"""The cost of ``GET /tasks``, and the initial state of tasks."""

import datetime as dt

import pytest
from django.db import connection
from django.utils import timezone

from provisioner.common.results import ResultCode
from tasks import busy_hosts
from tasks.lease import LEASE_SECONDS
from tasks.models import Task, TaskState, TaskType
from tasks.selectors import task_list, task_rows
from tasks.services import VolumeHasTask, task_create, task_update

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_new_task_has_a_lease():
    before = timezone.now()
    task = task_create(type=TaskType.FETCH_INVENTORY)
    lease = dt.timedelta(seconds=LEASE_SECONDS)
    assert task.lease_until is not None
    assert before + lease <= task.lease_until <= timezone.now() + lease
    assert task.state is TaskState.IDLE


def test_a_second_active_task_of_a_volume_is_refused():
    first = task_create(type=TaskType.REMOTE_MIGRATION, host_id="h", volume_id="v")
    with pytest.raises(VolumeHasTask) as refused:
        task_create(type=TaskType.REPLICA_SYNC, volume_id="v")
    assert refused.value.code is ResultCode.TaskAlreadyRunning
    assert refused.value.description == "volume 'v' has an active task"
    task_update(task_id=first.pk, host_id="h", state=TaskState.FAILED)
    task_create(type=TaskType.REPLICA_SYNC, volume_id="v")


def test_the_tasks_of_a_host_are_read_by_one_indexed_query(django_assert_num_queries):
    Task.objects.bulk_create(
        Task(type=TaskType.REMOTE_MIGRATION, host_id=f"h{n % 1000}") for n in range(5000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE tasks_task")
    with django_assert_num_queries(1):
        assert len(task_list(host_id="h7")) == 5
    if connection.vendor == "postgresql":
        plan = task_rows(host_id="h7").explain()
        assert "tasks_of_host" in plan or "task_busy_hosts" in plan


def test_the_hosts_with_tasks_are_read_from_a_small_index():
    Task.objects.bulk_create(
        Task(type=TaskType.REMOTE_MIGRATION, host_id=f"h{n % 3}" if n % 2 else "")
        for n in range(5000)
    )
    assert sorted(busy_hosts.BUSY.rows()) == [("h0",), ("h1",), ("h2",)]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE tasks_task")
            cursor.execute("SET enable_seqscan = off")
            plan = busy_hosts.BUSY._build().explain()
            cursor.execute("RESET enable_seqscan")
        assert "task_busy_hosts" in plan


def test_a_task_update_is_one_statement(django_assert_num_queries):
    task = task_create(type=TaskType.REMOTE_MIGRATION, host_id="h")
    with django_assert_num_queries(1):
        task_update(task_id=task.pk, host_id="h", state=TaskState.RUNNING, progress=3)
