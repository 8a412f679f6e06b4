"""How workers run tasks: leases, heartbeats, waiting, and lost workers or messages."""

import datetime as dt
import threading
from functools import partial

import pytest
from django.db import InternalError, OperationalError
from django.utils import timezone
from psycopg import errors

from provisioner.common import shutdown, writes
from provisioner.common.results import ProvisionerError, ResultCode
from tasks import context as tasks_context
from tasks import runner, saga
from tasks.context import LeaseLost, Reschedule
from tasks.lease import LEASE_SECONDS
from tasks.models import Task, TaskState
from tasks.saga import Step
from tasks.services import MoveRefused, task_update, tasks_abort
from tasks.submission import TaskFailed, task_wait, tasks_requeue
from tests.tasks.sagas import KIND, nothing, registered, row, submitted

pytestmark = pytest.mark.django_db(transaction=True)


def test_outputs_reach_later_steps():
    seen = []
    steps = [
        Step(lambda context: {"a": context.params["x"]}),
        Step(lambda context: seen.append(dict(context.outputs))),
        Step(lambda context: {"b": 2}),
    ]
    with registered(*steps):
        task_id = submitted(params={"x": "1"}, outputs={"secret": "s"})
        runner.run(task_id)
    assert seen == [{"secret": "s", "a": "1"}]
    task = row(task_id)
    assert task.outputs == {"secret": "s", "a": "1", "b": 2}
    assert (task.state, task.steps_done, task.progress) == (TaskState.FINISHED, 3, 100.0)


def test_progress_is_the_weight_of_done_steps_plus_a_fraction(monkeypatch):
    monkeypatch.setattr(tasks_context, "HEARTBEAT_SECONDS", 0)
    reached = []

    def work(context):
        for fraction in (0.5, 0.25, 1):
            context.heartbeat(fraction)
            reached.append(row(context.task.pk).progress)

    with registered(Step(nothing, 1), Step(work, 2), Step(nothing, 1)):
        runner.run(submitted())
    assert reached == [50.0, 50.0, 75.0]


def test_a_heartbeat_writes_at_most_every_two_seconds(django_assert_num_queries):
    def work(context):
        with django_assert_num_queries(1):
            for _ in range(100):
                context.heartbeat(0.1)

    with registered(Step(work), Step(nothing)):
        task_id = submitted()
        runner.run(task_id)
    assert row(task_id).state == TaskState.FINISHED
    assert tasks_context.HEARTBEAT_SECONDS == 2


def test_a_heartbeat_renews_the_lease_and_notices_its_loss(monkeypatch):
    monkeypatch.setattr(tasks_context, "HEARTBEAT_SECONDS", 0)
    lost = []

    def work(context):
        rows = Task.objects.filter(pk=context.task.pk)
        rows.update(lease_until=timezone.now())
        context.heartbeat()
        renewed = timezone.now() + dt.timedelta(seconds=LEASE_SECONDS - 5)
        assert rows.filter(lease_until__gt=renewed).exists()
        rows.update(lease_owner="another")
        try:
            context.heartbeat()
        except LeaseLost:
            lost.append(True)
            raise

    with registered(Step(work), Step(nothing)):
        task_id = submitted()
        runner.run(task_id)
    assert lost == [True]
    assert (row(task_id).state, row(task_id).lease_owner) == (TaskState.RUNNING, "another")


def test_a_duplicate_message_does_nothing():
    """It arrives while a worker runs the task, or after the task has ended."""
    calls = []

    def work(context):
        calls.append(context.task.pk)
        runner.run(context.task.pk)

    with registered(Step(work), Step(nothing)):
        task_id = submitted()
        runner.run(task_id)
        runner.run(task_id)
    assert calls == [task_id]


def test_one_of_ten_simultaneous_workers_runs_a_task():
    calls = []
    with registered(Step(lambda context: calls.append(1)), Step(nothing)):
        task_id = submitted()
        threads = [threading.Thread(target=_run_in_thread, args=[task_id]) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (calls, row(task_id).state) == ([1], TaskState.FINISHED)


def _run_in_thread(task_id):
    from django.db import connection

    try:
        runner.run(task_id)
    finally:
        connection.close()


class Refused(ProvisionerError):
    code = ResultCode.NoFreeSpace


def _note(notes, name, task):
    notes.append(name)


def test_a_refusal_is_the_result_of_the_task_and_undoes_begun_steps():
    undone: list[str] = []

    def refuse(context):
        raise Refused("no space", internal="details")

    steps = [Step(nothing, undo=partial(_note, undone, name)) for name in "ab"]
    never = Step(nothing, undo=lambda task: undone.append("never begun"))
    with registered(*steps, Step(refuse, undo=lambda task: undone.append("c")), never):
        task_id = submitted()
        runner.run(task_id)
        assert undone == ["c", "b", "a"]
        with pytest.raises(TaskFailed) as refused:
            task_wait(task_id=task_id, seconds=0)
    assert (refused.value.code, str(refused.value)) == (ResultCode.NoFreeSpace, "no space")
    task = row(task_id)
    assert (task.state, task.task_status, task.description) == ("FAILED", "NoFreeSpace", "no space")
    assert (task.lease_owner, task.lease_until) == ("", None)


def test_a_bug_ends_the_task_with_internal_error(caplog):
    def work(context):
        raise KeyError("secret detail")

    with registered(Step(work), Step(nothing)):
        task_id = submitted()
        runner.run(task_id)
    task = row(task_id)
    assert (task.state, task.task_status) == ("FAILED", "InternalError")
    assert task.description == "internal error; the log has the details"
    assert "secret detail" in caplog.text
    with pytest.raises(RuntimeError, match="is FAILED"):
        task_wait(task_id=task_id, seconds=0)


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (OperationalError, errors.AdminShutdown()),
        (OperationalError, errors.LockNotAvailable()),
        (InternalError, errors.IdleInTransactionSessionTimeout()),
    ],
)
def test_a_database_outage_does_not_fail_the_task(kind, cause):
    state = {"is_up": False}

    def work(context):
        if not state["is_up"]:
            raise kind("gone") from cause

    with registered(Step(work), Step(nothing)):
        task_id = submitted()
        runner.run(task_id)
        assert row(task_id).state == TaskState.RUNNING
        state["is_up"] = True
        Task.objects.update(lease_until=timezone.now())
        runner.run(task_id)
    assert row(task_id).state == TaskState.FINISHED


def test_the_last_step_writes_nothing_after_the_lease_is_lost():
    def lose(context):
        Task.objects.update(lease_owner="another")

    def write(context):
        submitted(volume_id="made by the last step")

    with registered(Step(nothing), Step(write), lock_first=lambda task: lose(None)):
        task_id = submitted()
        runner.run(task_id)
    assert Task.objects.get().pk == task_id


def test_an_abort_undoes_the_task_at_once_and_stops_its_worker():
    undone: list[str] = []

    def work(context):
        task_update(task_id=context.task.pk, host_id="h", state=TaskState.ABORTED)
        assert undone == ["claim"]
        with context.transaction():
            undone.append("must not be")

    steps = [Step(work, undo=lambda task: undone.append("claim")), Step(nothing)]
    with registered(*steps):
        task_id = submitted(host_id="h", stoppable=True)
        runner.run(task_id)
    assert (undone, row(task_id).state) == (["claim"], TaskState.ABORTED)


def test_a_volumes_task_is_aborted_and_undone():
    undone = []
    steps = [Step(nothing, undo=lambda task: undone.append(task.volume_id)), Step(nothing)]
    with registered(*steps, is_hosts=lambda task: task.host_id == "h"):
        for number, host in enumerate(("h", "", "h"), 1):
            submitted(volume_id=f"v{number}", host_id=host)
        for volume in ("v1", "v2"):
            tasks_abort(volume_id=volume, reason="it was unpublished", only_hosts=True)
        assert undone == ["v1"]
        tasks_abort(volume_id="v2", reason="it was deleted")
    assert undone == ["v1", "v2"]
    rows = Task.objects.order_by("volume_id").values_list("state", "description")
    assert list(rows) == [
        ("ABORTED", "it was unpublished"),
        ("ABORTED", "it was deleted"),
        ("IDLE", ""),
    ]


def test_only_the_host_changes_the_state_of_its_task():
    with registered(
        Step(lambda context: Reschedule(seconds=60)), Step(nothing), is_hosts=lambda task: True
    ):
        task_id = submitted(host_id="h")
        runner.run(task_id)
        assert (row(task_id).state, row(task_id).started_at) == (TaskState.IDLE, None)
        task_update(task_id=task_id, host_id="h", state=TaskState.FINISHED)
        Task.objects.update(lease_until=timezone.now())
        runner.run(task_id)
    assert row(task_id).state == TaskState.FINISHED


def test_a_client_cannot_finish_a_task_of_a_worker():
    with registered(Step(nothing), Step(nothing)):
        task_id = submitted(host_id="h")
        with pytest.raises(MoveRefused):
            task_update(task_id=task_id, host_id="h", state=TaskState.FINISHED)
    assert row(task_id).state == TaskState.IDLE


def test_a_task_type_without_saga_is_not_run(monkeypatch):
    monkeypatch.delitem(saga._sagas, KIND, raising=False)
    task_id = submitted()
    runner.run(task_id)
    runner.run("unknown")
    Task.objects.update(lease_until=timezone.now())
    assert tasks_requeue() == 0
    assert row(task_id).state == TaskState.IDLE


class TestStop:
    """A worker that is being stopped hands its task over, at a heartbeat or between two steps."""

    @pytest.fixture(autouse=True)
    def stopped(self):
        yield
        shutdown.clear()

    @pytest.fixture
    def sent(self, monkeypatch):
        sent = []
        monkeypatch.setattr("provisioner.common.queue._senders", [lambda *job: sent.append(job)])
        return sent

    @pytest.mark.parametrize("beats", [True, False])
    def test_the_task_is_sent_to_another_worker_at_once(self, sent, beats):
        done = []

        def work(context):
            shutdown.stop()
            if beats:
                context.heartbeat()
            done.append("work")

        with registered(Step(work), Step(lambda context: done.append("more")), Step(nothing)):
            task_id = submitted()
            sent.clear()
            runner.run(task_id)
            task = row(task_id)
            assert (task.state, task.lease_owner, task.attempts) == (TaskState.RUNNING, "", 0)
            assert done == ([] if beats else ["work"])
            assert sent == [("tasks.jobs.run_task", (task_id,), 0.0)]
            shutdown.clear()
            with registered(*[Step(nothing)] * 3):
                runner.run(task_id)
        assert row(task_id).state == TaskState.FINISHED

    def test_a_task_is_handed_over_when_writes_are_barred(self, sent, monkeypatch):
        done: list[str] = []
        reasons: list[str] = []
        monkeypatch.setattr(writes._answer, "check", lambda: "".join(reasons))
        writes.writes_clear_cache()

        def work(context):
            reasons.append("a node is newer than the database")
            writes.writes_clear_cache()
            context.heartbeat()
            done.append("work")

        with registered(Step(work), Step(nothing)):
            task_id = submitted()
            sent.clear()
            runner.run(task_id)
        writes.writes_clear_cache()
        task = row(task_id)
        assert (task.state, task.lease_owner, task.attempts) == (TaskState.RUNNING, "", 0)
        assert done == []
        assert sent == [("tasks.jobs.run_task", (task_id,), 0.0)]

    def test_a_worker_that_lost_the_lease_hands_nothing_over(self, sent):
        def work(context):
            Task.objects.update(lease_owner="another")
            shutdown.stop()
            context.heartbeat()

        with registered(Step(work), Step(nothing)):
            task_id = submitted()
            sent.clear()
            runner.run(task_id)
        assert row(task_id).lease_owner == "another"
        assert sent == []
