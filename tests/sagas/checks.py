"""Checks that every saga must pass. A test class inherits :class:`SagaChecks` and defines
its case.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
from django.db import connection
from django.utils import timezone

from provisioner.common.results import ProvisionerError, ResultCode
from tasks import runner, saga
from tasks.context import Context, Outputs, Reschedule
from tasks.models import ACTIVE, ENDED, Task, TaskState, TaskType
from tasks.saga import Saga, Step
from tasks.services import TaskEnded, task_update

RUNS_AT_MOST = 100
WORK_SECONDS = 400.0
WHEN = ("before", "after")

Act = Callable[[Context], None]


class Refused(ProvisionerError):
    code = ResultCode.NotAvailable


class Killed(BaseException):
    """Simulates ``kill -9``. No code may catch it."""


def nothing(task_id: str) -> None:
    return None


@dataclass(frozen=True)
class Case:
    """The input of the checks of a saga.

    ``submit`` creates a task that can finish. It is called repeatedly. ``done`` and ``undone``
    assert, after the task FINISHED or ended in another way, that database, nodes and budgets agree.
    ``losses``: functions that make a node lose data that the task may need or create. ``lost``
    asserts, after a task that met a loss has ended, that no outdated or empty replica counts as
    good; tasks that need no data on nodes finish. ``meanwhile``: actions of others while the task
    waits. ``is_hosts``: a host ends the task, and the first step only supervises the host.
    """

    submit: Callable[[], str]
    done: Callable[[], None]
    undone: Callable[[], None]
    losses: Sequence[Callable[[], None]]
    lost: Callable[[Task], None]
    meanwhile: Callable[[str], None] = nothing
    is_hosts: bool = False


ALONE = Case(str, lambda: None, lambda: None, (), lambda task: None)


class SagaChecks:
    """Seven checks of a saga. ``type`` is the type of its tasks. The subclass defines the fixture
    ``case``.
    """

    type: ClassVar[TaskType]

    @pytest.fixture
    def case(self) -> Case:
        raise NotImplementedError

    def test_it_finishes_and_another_run_changes_nothing(self, case: Case) -> None:
        task = work_off(case, case.submit())
        self._expect_finished(case, task)
        case.done()
        before = Task.objects.filter(pk=task.pk).values().get()
        runner.run(task.pk)
        assert Task.objects.filter(pk=task.pk).values().get() == before
        case.done()

    def test_running_every_step_twice_changes_nothing(self, case: Case) -> None:
        with changed_steps(self._saga(), twice):
            task = work_off(case, case.submit())
        self._expect_finished(case, task)
        case.done()

    def test_a_refusal_at_any_step_undoes_the_task(self, case: Case) -> None:
        for number, when in self._places(case):
            with acting(self._saga(), number, when, _refuse):
                task = work_off(case, case.submit())
            assert (task.state, task.task_status) == (TaskState.FAILED, "NotAvailable"), number
            assert task.description == "refused by the test"
            case.undone()

    def test_it_finishes_although_its_worker_died_at_any_step(self, case: Case) -> None:
        for number, when in self._places(case):
            task_id = case.submit()
            with acting(self._saga(), number, when, die), pytest.raises(Killed):
                work_off(case, task_id)
            assert Task.objects.get(pk=task_id).state not in ENDED
            Task.objects.filter(pk=task_id).update(lease_until=timezone.now())
            self._expect_finished(case, work_off(case, task_id))
            case.done()

    def test_a_cancel_at_any_step_undoes_the_task(self, case: Case) -> None:
        for number, when in self._places(case):
            if number == len(self._saga().steps) - 1:
                break
            with acting(self._saga(), number, when, _cancel):
                task = work_off(case, case.submit())
            assert task.state == TaskState.ABORTED, (number, when)
            case.undone()
        if case.is_hosts or connection.vendor == "sqlite":
            return  # with SQLite, no other transaction can write after the last one has begun
        with before_the_last_step(self._saga(), _cancel_task):
            assert work_off(case, case.submit()).state == TaskState.ABORTED
        case.undone()

    @pytest.mark.timeout(300)
    def test_data_lost_at_any_step_never_counts_as_good(self, case: Case) -> None:
        for lose in case.losses:
            for number in range(1 if case.is_hosts else len(self._saga().steps)):
                with acting(self._saga(), number, "before", _once(lose)):
                    task = work_off(case, case.submit())
                case.lost(task)

    def test_an_ended_task_cannot_be_cancelled(self, case: Case) -> None:
        task = work_off(case, case.submit())
        with pytest.raises(TaskEnded):
            task_update(task_id=task.pk, host_id=task.host_id, state=TaskState.ABORTED)
        case.done()

    def _saga(self) -> Saga:
        found = saga.saga_of(Task(type=self.type))
        assert found is not None
        return found

    def _places(self, case: Case) -> list[tuple[int, str]]:
        if case.is_hosts:
            return [(0, "before")]
        return [(number, when) for number in range(len(self._saga().steps)) for when in WHEN]

    def _expect_finished(self, case: Case, task: Task) -> None:
        expect_finished(task, 0 if case.is_hosts else len(self._saga().steps))


def work_off(case: Case, task_id: str) -> Task:
    """Run the task until it has ended, as messages would. A waiting task is resumed at once."""
    for _ in range(RUNS_AT_MOST):
        runner.run(task_id)
        task = Task.objects.get(pk=task_id)
        if task.state in ENDED:
            return task
        case.meanwhile(task_id)
        resume(task_id)
    raise AssertionError(f"{task} has not ended after {RUNS_AT_MOST} runs")


def resume(task_id: str) -> None:
    """Wake a waiting task, or end the lease of a dead worker."""
    waiting = Task.objects.filter(pk=task_id, state__in=ACTIVE)
    waiting.update(lease_until=timezone.now())


def await_end(task_id: str) -> Task:
    """Run the task until it has ended, however often it waits, and return it."""
    end = time.monotonic() + WORK_SECONDS
    while True:
        runner.run(task_id)
        task = Task.objects.get(pk=task_id)
        if task.state in ENDED:
            return task
        assert time.monotonic() < end, (task.state, task.outputs)
        time.sleep(0.2)
        resume(task_id)


def work_off_all() -> None:
    """Run each active task until it has ended. Nothing else acts in this time."""
    for task_id in Task.objects.filter(state__in=ACTIVE).values_list("pk", flat=True):
        work_off(ALONE, task_id)


def expect_finished(task: Task, steps: int) -> None:
    assert (task.state, task.task_status) == (TaskState.FINISHED, "Success"), task.description
    assert (task.progress, task.steps_done) == (100.0, steps)
    assert task.started_at is not None
    assert task.ended_at is not None
    assert (task.lease_owner, task.lease_until) == ("", None)


@contextmanager
def changed_steps(worked: Saga, change: Callable[[int, Step], Step]) -> Iterator[None]:
    """Replace the steps of the saga inside the block."""
    steps = tuple(change(number, step) for number, step in enumerate(worked.steps))
    with _registered(worked, replace(worked, steps=steps)):
        yield


@contextmanager
def acting(worked: Saga, number: int, when: str, act: Act) -> Iterator[None]:
    """Call ``act`` each time before or after step ``number`` runs."""

    def change(current: int, step: Step) -> Step:
        def run(context: Context) -> Outputs | Reschedule | None:
            if when == "before":
                act(context)
            result = step.run(context)
            if when == "after" and not isinstance(result, Reschedule):
                act(context)
            return result

        return replace(step, run=run) if current == number else step

    with changed_steps(worked, change):
        yield


@contextmanager
def before_the_last_step(worked: Saga, act: Callable[[Task], None]) -> Iterator[None]:
    """Call ``act`` just before the transaction of the last step locks anything."""
    last = len(worked.steps) - 1

    def lock_first(task: Task) -> None:
        current = Task.objects.get(pk=task.pk)
        if current.steps_done == last and threading.current_thread() is main:
            act(task)
        worked.lock_first(task)

    main = threading.current_thread()
    with _registered(worked, replace(worked, lock_first=lock_first)):
        yield


@contextmanager
def _registered(worked: Saga, other: Saga) -> Iterator[None]:
    saga.register(other)
    try:
        yield
    finally:
        saga.register(worked)


def twice(number: int, step: Step) -> Step:
    def run(context: Context) -> Outputs | Reschedule | None:
        step.run(context)
        return step.run(context)

    return replace(step, run=run)


def _once(act: Callable[[], None]) -> Act:
    """Return a function that calls ``act`` only the first time."""
    left = [act]
    return lambda context: left.pop()() if left else None


def _refuse(context: Context) -> None:
    raise Refused("refused by the test")


def die(context: Context) -> None:
    raise Killed


def _cancel(context: Context) -> None:
    _cancel_task(context.task)


def _cancel_task(task: Task) -> None:
    """Cancel the task as another process would: over another connection."""

    def cancel() -> None:
        Task.objects.filter(pk=task.pk).update(stoppable=True)
        try:
            task_update(task_id=task.pk, host_id=task.host_id, state=TaskState.ABORTED)
        finally:
            connection.close()

    thread = threading.Thread(target=cancel)
    thread.start()
    thread.join()
