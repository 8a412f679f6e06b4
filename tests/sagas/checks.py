"""What every saga must stand: a test class inherits :class:`SagaChecks` and says what to expect."""

import threading
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
WHEN = ("before", "after")

Act = Callable[[Context], None]


class Refused(ProvisionerError):
    code = ResultCode.NotAvailable


class Killed(BaseException):
    """``kill -9``: nobody may catch it."""


def nothing(task_id: str) -> None:
    return None


@dataclass(frozen=True)
class Case:
    """``submit`` makes a task in a world where it can finish; it is called again and again.

    ``done`` and ``undone`` assert, after it FINISHED or after it ended badly, that database, nodes
    and budgets agree. ``losses``: by which a node loses data that the task may need, or makes;
    ``lost`` asserts, after it ended somehow, that nothing old or empty counts as good. Tasks that
    need no data on nodes finish. ``meanwhile`` is what others do while the task waits for them.
    With ``is_hosts`` a host ends it, and the first step only supervises.
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
    """Six checks; ``type`` is the saga's, the fixture ``case`` the subclass's."""

    type: ClassVar[TaskType]

    @pytest.fixture
    def case(self) -> Case:
        raise NotImplementedError

    def test_completes(self, case: Case) -> None:
        task = work_off(case, case.submit())
        self._expect_finished(case, task)
        case.done()
        before = Task.objects.filter(pk=task.pk).values().get()
        runner.run(task.pk)
        assert Task.objects.filter(pk=task.pk).values().get() == before
        case.done()

    def test_every_step_twice(self, case: Case) -> None:
        with changed_steps(self._saga(), twice):
            task = work_off(case, case.submit())
        self._expect_finished(case, task)
        case.done()

    def test_fails_at_every_step(self, case: Case) -> None:
        for number, when in self._places(case):
            with acting(self._saga(), number, when, _refuse):
                task = work_off(case, case.submit())
            assert (task.state, task.task_status) == (TaskState.FAILED, "NotAvailable"), number
            assert task.description == "refused by the test"
            case.undone()

    def test_dies_at_every_step(self, case: Case) -> None:
        for number, when in self._places(case):
            task_id = case.submit()
            with acting(self._saga(), number, when, die), pytest.raises(Killed):
                work_off(case, task_id)
            assert Task.objects.get(pk=task_id).state not in ENDED
            Task.objects.filter(pk=task_id).update(lease_until=timezone.now())
            self._expect_finished(case, work_off(case, task_id))
            case.done()

    def test_is_cancelled_at_every_step(self, case: Case) -> None:
        for number, when in self._places(case):
            if number == len(self._saga().steps) - 1:
                break
            with acting(self._saga(), number, when, _cancel):
                task = work_off(case, case.submit())
            assert task.state == TaskState.ABORTED, (number, when)
            case.undone()
        if case.is_hosts or connection.vendor == "sqlite":
            return  # a transaction of SQLite keeps all others out from its begin on
        with before_the_last_step(self._saga(), _cancel_task):
            assert work_off(case, case.submit()).state == TaskState.ABORTED
        case.undone()

    @pytest.mark.timeout(300)
    def test_a_node_lost_the_data_before_each_step(self, case: Case) -> None:
        for lose in case.losses:
            for number in range(1 if case.is_hosts else len(self._saga().steps)):
                with acting(self._saga(), number, "before", _once(lose)):
                    task = work_off(case, case.submit())
                case.lost(task)

    def test_cannot_be_cancelled_once_it_ended(self, case: Case) -> None:
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
    """Run the task until it has ended, as messages would; who waits is resumed at once."""
    for _ in range(RUNS_AT_MOST):
        runner.run(task_id)
        task = Task.objects.get(pk=task_id)
        if task.state in ENDED:
            return task
        case.meanwhile(task_id)
        resume(task_id)
    raise AssertionError(f"{task} has not ended after {RUNS_AT_MOST} runs")


def resume(task_id: str) -> None:
    """Whoever waits is woken, and a dead worker's lease is over."""
    waiting = Task.objects.filter(pk=task_id, state__in=ACTIVE)
    waiting.update(lease_until=timezone.now())


def work_off_all() -> None:
    """Each task, until it has ended; nobody else does anything."""
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
    """The saga with other steps, until the end of the block."""
    steps = tuple(change(number, step) for number, step in enumerate(worked.steps))
    with _registered(worked, replace(worked, steps=steps)):
        yield


@contextmanager
def acting(worked: Saga, number: int, when: str, act: Act) -> Iterator[None]:
    """``act`` is called each time before or after step ``number`` does its work."""

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
    """``act`` is called just before the last step's transaction locks anything."""
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
    """However often the step is tried."""
    left = [act]
    return lambda context: left.pop()() if left else None


def _refuse(context: Context) -> None:
    raise Refused("refused by the test")


def die(context: Context) -> None:
    raise Killed


def _cancel(context: Context) -> None:
    _cancel_task(context.task)


def _cancel_task(task: Task) -> None:
    """By another process: over another connection."""

    def cancel() -> None:
        Task.objects.filter(pk=task.pk).update(stoppable=True)
        try:
            task_update(task_id=task.pk, host_id=task.host_id, state=TaskState.ABORTED)
        finally:
            connection.close()

    thread = threading.Thread(target=cancel)
    thread.start()
    thread.join()
