"""A task that kills its workers, and the reasons why tasks wait."""

import datetime as dt

import pytest
from django.db import OperationalError
from django.utils import timezone

from tasks import runner
from tasks.context import Reschedule
from tasks.lease import WAITING, task_submit
from tasks.models import Task, TaskState
from tasks.saga import Step
from tasks.selectors import task_list
from tasks.services import task_update
from tasks.views import task_json
from tests.tasks.sagas import nothing, registered, row, submitted

pytestmark = pytest.mark.django_db(transaction=True)


class Killed(BaseException):
    """Simulates the death of the process. No code catches it."""


@pytest.fixture(autouse=True)
def three_attempts(settings):
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"task_attempts": 3})


def die(context):
    raise Killed


def run_again(task_id):
    """Run the task as another worker, after the previous lease has expired."""
    Task.objects.filter(pk=task_id).update(lease_until=timezone.now())
    runner.run(task_id)


def killed(task_id):
    with pytest.raises(Killed):
        run_again(task_id)


def shown(task_id):
    [task] = task_list(task_id=task_id)
    return task_json(task)


def test_a_task_fails_after_its_workers_died_task_attempts_times():
    undone = []
    steps = [Step(nothing, undo=lambda task: undone.append(1)), Step(die), Step(nothing)]
    with registered(*steps):
        task_id = submitted()
        for attempt in (1, 2, 3):
            killed(task_id)
            assert (row(task_id).attempts, row(task_id).state) == (attempt, TaskState.RUNNING)
        assert undone == []
        run_again(task_id)
    task = row(task_id)
    assert (task.state, task.task_status, undone) == (TaskState.FAILED, "InternalError", [1])
    assert task.description == ("failed after 3 attempts: each time the worker died in step 2")


@pytest.mark.parametrize("result", [None, Reschedule(seconds=60)], ids=["done", "waits"])
def test_a_step_that_is_done_or_waits_resets_the_attempts(result):
    deaths = iter([True, True, False, True, True, True])

    def work(context):
        if next(deaths):
            raise Killed
        return result

    with registered(Step(work), Step(work), Step(nothing)):
        task_id = submitted()
        killed(task_id)
        killed(task_id)
        if result is None:
            killed(task_id)
            assert (row(task_id).attempts, row(task_id).steps_done) == (1, 1)
        else:
            run_again(task_id)
            assert (row(task_id).attempts, row(task_id).lease_owner) == (0, WAITING)


@pytest.mark.parametrize("cut", [OperationalError("gone"), SystemExit(0), KeyboardInterrupt()])
def test_an_outage_or_a_requested_stop_is_no_attempt(cut):
    def work(context):
        raise cut

    with registered(Step(work), Step(nothing)):
        task_id = submitted()
        for _ in range(5):
            Task.objects.update(lease_until=timezone.now())
            if isinstance(cut, OperationalError):
                runner.run(task_id)
            else:
                with pytest.raises(type(cut)):
                    runner.run(task_id)
    assert (row(task_id).attempts, row(task_id).state) == (0, TaskState.RUNNING)


def test_a_waiting_task_says_what_it_waits_for():
    steps = [
        Step(
            lambda c: Reschedule(seconds=60, outputs={"n": 1}, pending_reason="the end of the copy")
        ),
        Step(nothing),
    ]
    with registered(*steps):
        task_id = submitted()
        assert shown(task_id)["waitsFor"] == "a worker"
        runner.run(task_id)
        assert shown(task_id)["waitsFor"] == "the end of the copy"
        assert row(task_id).outputs == {"n": 1, "waits_for": "the end of the copy"}


def test_a_running_or_ended_task_waits_for_nothing():
    seen = []
    with registered(Step(lambda c: seen.append(shown(c.task.pk))), Step(nothing)):
        task_id = submitted()
        runner.run(task_id)
        seen.append(shown(task_id))
    assert [("waitsFor" in task, task["state"]) for task in seen] == [
        (False, "RUNNING"),
        (False, "FINISHED"),
    ]


def test_a_waiting_step_without_reason_waits_for_its_next_step():
    with registered(Step(lambda context: Reschedule(seconds=60)), Step(nothing)):
        task_id = submitted()
        runner.run(task_id)
        assert shown(task_id)["waitsFor"] == "its next step"
        task_submit(task_id)


def test_the_pending_reason_is_cleared_when_the_step_is_done():
    answers = iter([Reschedule(seconds=60, pending_reason="rain"), None])
    with registered(Step(lambda context: next(answers)), Step(nothing)):
        task_id = submitted()
        runner.run(task_id)
        run_again(task_id)
    assert (row(task_id).state, row(task_id).outputs) == (TaskState.FINISHED, {})


def test_a_report_of_the_host_updates_the_last_activity():
    before = timezone.now()
    with registered(Step(nothing), Step(nothing), is_hosts=lambda task: True):
        task_id = submitted(host_id="h")
        assert (shown(task_id)["waitsFor"], row(task_id).last_activity_at) == ("the host", None)
        task_update(task_id=task_id, host_id="h")
    last_activity_at = row(task_id).last_activity_at
    assert before <= last_activity_at <= timezone.now()


def test_a_copying_task_shows_bytes_rate_and_seconds_left(django_assert_num_queries):
    task_id = submitted()
    assert not {"bytesDone", "bytesTotal", "bytesPerSecond", "secondsLeft"} & set(shown(task_id))
    task = Task.objects.filter(pk=task_id)
    task.update(bytes_done=0, bytes_total=1001, bytes_per_second=0)
    bytes_now = {"bytesDone": 0, "bytesTotal": 1001, "bytesPerSecond": 0}
    assert bytes_now.items() <= shown(task_id).items()
    assert "secondsLeft" not in shown(task_id)
    task.update(bytes_done=1, bytes_per_second=300)
    with django_assert_num_queries(1):
        assert shown(task_id)["secondsLeft"] == 4
    task.update(state=TaskState.FAILED, ended_at=timezone.now() - dt.timedelta(minutes=1))
    assert "secondsLeft" not in shown(task_id)
    assert shown(task_id)["bytesDone"] == 1
