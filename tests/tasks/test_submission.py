"""Tasks that wait, and the recovery of tasks whose message or worker was lost."""

import datetime as dt
import time
from itertools import pairwise

import pytest
from django.utils import timezone

from provisioner.celery import app
from provisioner.common.queue import messages_waiting
from tasks import runner, submission
from tasks.context import Reschedule
from tasks.models import Task, TaskState
from tasks.saga import Step
from tasks.submission import task_wait, tasks_requeue, tasks_wake
from tests.tasks.sagas import nothing, registered, row, submitted
from tests.worker import running_worker

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_waiting_task_runs_when_woken_or_due():
    """Before its time, it continues only if it is woken."""
    calls = []

    def work(context):
        calls.append(context.outputs.get("n", 0))
        return Reschedule(seconds=60, outputs={"n": len(calls)}) if len(calls) < 3 else None

    with registered(Step(work), Step(nothing)):
        task_id = submitted(volume_id="v")
        runner.run(task_id)
        runner.run(task_id)
        assert (calls, row(task_id).lease_owner) == ([0], "waiting")
        tasks_wake(volume_id="other")
        runner.run(task_id)
        assert calls == [0]
        tasks_wake(volume_id="v")
        runner.run(task_id)
        assert calls == [0, 1]
        Task.objects.update(lease_until=timezone.now())
        runner.run(task_id)
    assert calls == [0, 1, 2]
    assert row(task_id).state == TaskState.FINISHED


# over the broker


def test_a_celery_worker_runs_a_task():
    with registered(Step(nothing), Step(nothing)), running_worker():
        assert task_wait(task_id=submitted(), seconds=10) is True


def test_a_rescheduled_step_runs_again_after_its_pause():
    times = []

    def work(context):
        times.append(time.monotonic())
        return Reschedule(seconds=1) if len(times) < 3 else None

    with registered(Step(work), Step(nothing)), running_worker():
        assert task_wait(task_id=submitted(), seconds=20) is True
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert len(waits) == 2
    assert all(1 <= wait < 4 for wait in waits), waits


def test_a_task_whose_message_was_lost_is_sent_again():
    with registered(Step(nothing), Step(nothing)):
        task_id = submitted()
        with running_worker():  # this purges all messages
            assert task_wait(task_id=task_id, seconds=0.5) is False
            assert tasks_requeue() == 0, "its lease has not expired yet"
            Task.objects.update(lease_until=timezone.now())
            assert tasks_requeue() == 1
            assert task_wait(task_id=task_id, seconds=10) is True
        assert tasks_requeue() == 0


def test_a_task_with_an_expired_lease_is_sent_again():
    with registered(Step(nothing), Step(nothing)):
        task_id = submitted()
        Task.objects.update(lease_owner="dead", lease_until=timezone.now(), state="RUNNING")
        assert tasks_requeue() == 1
        assert tasks_requeue() == 0, "it was submitted just now"
        runner.run(task_id)
    assert row(task_id).state == TaskState.FINISHED


def test_the_task_that_waited_longest_is_sent_first(monkeypatch):
    monkeypatch.setattr(submission, "WAITING_AT_MOST", 1)
    with registered(Step(nothing), Step(nothing)):
        ids = [submitted() for _ in range(3)]
        for task_id, seconds in zip(ids, (20, 30, 10), strict=True):
            expired_at = timezone.now() - dt.timedelta(seconds=seconds)
            Task.objects.filter(pk=task_id).update(lease_until=expired_at)
        sent: list[str] = []
        app.control.purge()
        while tasks_requeue():
            assert tasks_requeue() == 0, "its message waits"
            app.control.purge()
            again = Task.objects.filter(lease_until__gt=timezone.now()).exclude(pk__in=sent)
            sent.append(again.get().pk)
    assert sent == [ids[1], ids[0], ids[2]]


def test_the_queue_stays_short_while_no_worker_takes_messages(monkeypatch):
    """Otherwise each lease adds a message for each task, and new tasks wait for all of them."""
    monkeypatch.setattr(submission, "WAITING_AT_MOST", 10)
    app.control.purge()
    with registered(Step(nothing), Step(nothing)):
        ids = {submitted() for _ in range(4)}
        for _ in range(20):
            Task.objects.update(lease_until=timezone.now())
            tasks_requeue()
        assert messages_waiting() == 10
        late = Task.objects.filter(lease_until__lte=timezone.now())
        assert set(late.values_list("pk", flat=True)) == ids, "they are still due"
        app.control.purge()
        assert tasks_requeue() == 4
        assert messages_waiting() == 4


def test_waiting_for_a_task_ends_after_the_given_seconds(monkeypatch):
    monkeypatch.setattr(submission, "WAIT_STEP_SECONDS", 0.01)
    task_id = submitted()
    started = time.monotonic()
    assert task_wait(task_id=task_id, seconds=0.2) is False
    assert 0.2 <= time.monotonic() - started < 2
