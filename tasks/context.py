"""The context in which the steps of a task run."""

import datetime as dt
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Greatest

from events.kinds import Kind
from provisioner.common import clock
from provisioner.common.results import ResultCode
from provisioner.common.shutdown import is_shutting_down
from provisioner.common.writes import writes_barred
from tasks.history import task_record
from tasks.lease import LEASE_SECONDS, PENDING_REASON, WAITING, task_submit
from tasks.models import ACTIVE, Task, TaskState

HEARTBEAT_SECONDS = 2.0


Outputs = Mapping[str, Any]
"""Values that a step passes to later steps: JSON, merged into ``Task.outputs``."""


@dataclass(frozen=True)
class Reschedule:
    """The result of a step that is not done. It runs again in ``seconds``; 0: at once. No worker is
    occupied in between.

    ``pending_reason``: what the step waits for, in a few words for clients and operators.
    ``progress_mark``: a text that changes as long as the wait makes progress; by default the
    ``pending_reason``. ``ends_by_itself``: the step waits for work that makes progress and will
    end, however long it takes.
    """

    pending_reason: str = ""
    seconds: float = 0.0
    progress_mark: str = ""
    ends_by_itself: bool = False
    outputs: Outputs = field(default_factory=dict)


class LeaseLost(Exception):
    """The task ended, or another worker has its lease. The step must stop, and must not change
    anything more.
    """


class ShuttingDown(Exception):
    """This process is being stopped. Another worker continues the task."""


class Progress(Protocol):
    """The part of a saga that a context uses."""

    @property
    def lock_first(self) -> Callable[[Task], None]:
        """Locks the rows that come before the task's row in the order of locks."""

    def percent(self, steps_done: int, fraction: float = 0.0) -> float:
        """Return the progress in percent after ``steps_done`` steps and ``fraction`` (0 to 1) of
        the next step.
        """


class Context:
    """One run of a task, for its steps. ``task`` has the values from the start of the run."""

    def __init__(self, task: Task, saga: Progress) -> None:
        self.task = task
        self.saga = saga
        self.params: dict[str, str] = {tag["name"]: tag["value"] for tag in task.params}
        self.outputs: dict[str, Any] = task.outputs
        self.steps_done = task.steps_done
        self._next_beat = 0.0

    def heartbeat(self, fraction: float = 0.0, **measures: int | None) -> None:
        """Renew the lease and store the progress. Call this at least every 10 s. It writes at most
        every HEARTBEAT_SECONDS.

        ``fraction`` (0 to 1): the part of the step that is done. ``measures``: columns of the task
        such as ``bytes_done``. They are always written.

        :raises LeaseLost: the task ended, or another worker has it.
        :raises ShuttingDown: this process is being stopped, or writes are barred.
        """
        self.require_running()
        if not measures and time.monotonic() < self._next_beat:
            return
        self._next_beat = time.monotonic() + HEARTBEAT_SECONDS
        lease_until = _after(LEASE_SECONDS)
        self._write(progress=self._reached(fraction), lease_until=lease_until, **measures)

    def require_running(self) -> None:
        """:raises ShuttingDown: this process is being stopped, or writes are barred."""
        if is_shutting_down() or writes_barred():
            raise ShuttingDown

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction for the changes of a step. It checks and locks the lease.

        :raises LeaseLost: the task ended, or another worker has it.
        """
        with transaction.atomic(durable=True):
            self.saga.lock_first(self.task)
            if self._mine().select_for_update().first() is None:
                raise LeaseLost
            yield

    def advance(self, outputs: Outputs | None) -> None:
        """Record the step as done. This run counts as the first attempt of the next step.

        :raises LeaseLost: the task ended, or another worker has it.
        """
        self.outputs |= outputs or {}
        self.outputs.pop(PENDING_REASON, None)
        self.steps_done += 1
        self._write(
            attempts=1,
            steps_done=self.steps_done,
            outputs=self.outputs,
            progress=self._reached(),
            lease_until=_after(LEASE_SECONDS),
        )

    def pause(self, later: Reschedule) -> None:
        """Release the lease until the step must run again.

        :raises LeaseLost: the task ended, or another worker has it.
        """
        self.outputs.pop(PENDING_REASON, None)
        said = {PENDING_REASON: later.pending_reason} if later.pending_reason else {}
        self.outputs |= {**later.outputs, **said}
        self._write(
            attempts=0,
            outputs=self.outputs,
            lease_owner=WAITING,
            lease_until=_after(later.seconds),
        )
        task_submit(self.task.pk, delay_seconds=later.seconds)

    def hand_over(self) -> None:
        """Hand the task over. Another worker continues at once with the step that is not done."""
        with suppress(LeaseLost, DatabaseError, InterfaceError):
            self._write(
                attempts=F("attempts") - 1, lease_owner="", lease_until=_after(LEASE_SECONDS)
            )
            task_submit(self.task.pk)

    def uncount_attempt(self) -> None:
        """Do not count this run as an attempt, because the task did not cause the interruption."""
        with suppress(LeaseLost, DatabaseError, InterfaceError):
            self._write(attempts=F("attempts") - 1)

    def end(self, state: TaskState, code: ResultCode, description: str, **changes: Any) -> None:
        """End the task. Call this within :meth:`transaction`."""
        self._write(
            state=state,
            task_status=code.value,
            description=description,
            ended_at=clock.now(),
            lease_owner="",
            lease_until=None,
            **changes,
        )
        is_finished = state == TaskState.FINISHED
        kind = Kind.TASK_FINISHED if is_finished else Kind.TASK_FAILED
        task_record(self.task, kind, "" if is_finished else description)

    def _reached(self, fraction: float = 0.0) -> Greatest:
        return Greatest(F("progress"), Value(self.saga.percent(self.steps_done, fraction)))

    def _mine(self) -> QuerySet[Task]:
        owner = self.task.lease_owner
        return Task.objects.filter(pk=self.task.pk, lease_owner=owner, state__in=sorted(ACTIVE))

    def _write(self, **changes: Any) -> None:
        if not self._mine().update(**changes):
            raise LeaseLost


def _after(seconds: float) -> dt.datetime:
    return clock.now() + dt.timedelta(seconds=seconds)
