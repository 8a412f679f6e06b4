"""Works off one task: whoever holds its lease runs the steps that are not done yet.

``kill -9`` at any line loses nothing: the lease ends, and another worker goes on with the step that
was not noted as done.
"""

import datetime as dt
import logging
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Coalesce, Greatest

from provisioner.common import clock
from provisioner.common.results import ProvisionerError, ResultCode
from provisioner.common.stopping import is_stopping
from provisioner.common.writes import refusal_of, writes_barred
from tasks.models import ACTIVE, Task, TaskState
from tasks.saga import Later, Outputs, Saga, saga_of, undo
from tasks.selectors import WAITS_FOR
from tasks.services import COMPLETE
from tasks.submission import LEASE_SECONDS, WAITING, task_submit

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 2.0


class LeaseLost(Exception):
    """The task ended, or another worker has it: stop, and change nothing more."""


class HandedOn(Exception):
    """This process is being stopped: another worker goes on."""


class GivenUp(ProvisionerError):
    """The task kills its workers."""

    code = ResultCode.InternalError


class Context:
    """One run of a task, for its steps. ``task`` is as it was when the run began."""

    def __init__(self, task: Task, saga: Saga) -> None:
        self.task = task
        self.saga = saga
        self.params: dict[str, str] = {tag["name"]: tag["value"] for tag in task.params}
        self.outputs: dict[str, Any] = task.outputs
        self.steps_done = task.steps_done
        self._next_beat = 0.0

    def heartbeat(self, fraction: float = 0.0, **measures: int | None) -> None:
        """Still at work, with ``fraction`` (0 to 1) of the step done; call it at least every 10 s.

        ``measures``: the task's ``bytes_done`` and so on, which are written each time.

        :raises LeaseLost:
        :raises HandedOn:
        """
        self.expect_to_go_on()
        if not measures and time.monotonic() < self._next_beat:
            return
        self._next_beat = time.monotonic() + HEARTBEAT_SECONDS
        lease_until = _after(LEASE_SECONDS)
        self._write(progress=self._reached(fraction), lease_until=lease_until, **measures)

    def expect_to_go_on(self) -> None:
        """:raises HandedOn: this process is being stopped, or nothing may be written now."""
        if is_stopping() or writes_barred():
            raise HandedOn

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What a step writes: all or nothing, and only while the task is ours.

        :raises LeaseLost:
        """
        with transaction.atomic(durable=True):
            self.saga.lock_first(self.task)
            if self._mine().select_for_update().first() is None:
                raise LeaseLost
            yield

    def advance(self, outputs: Outputs | None) -> None:
        """The step is done, and this run is the first to try the next.

        :raises LeaseLost:
        """
        self.outputs |= outputs or {}
        self.outputs.pop(WAITS_FOR, None)
        self.steps_done += 1
        self._write(
            attempts=1,
            steps_done=self.steps_done,
            outputs=self.outputs,
            progress=self._reached(),
            lease_until=_after(LEASE_SECONDS),
        )

    def pause(self, later: Later) -> None:
        """Give the lease away until it is time to go on.

        :raises LeaseLost:
        """
        self.outputs.pop(WAITS_FOR, None)
        said = {WAITS_FOR: later.waits_for} if later.waits_for else {}
        self.outputs |= {**later.outputs, **said}
        self._write(
            attempts=0,
            outputs=self.outputs,
            lease_owner=WAITING,
            lease_until=_after(later.seconds),
        )
        task_submit(self.task.pk, delay_seconds=later.seconds)

    def hand_on(self) -> None:
        """Another worker goes on at once, with the step that is not done."""
        with suppress(LeaseLost, DatabaseError, InterfaceError):
            self._write(
                attempts=F("attempts") - 1, lease_owner="", lease_until=_after(LEASE_SECONDS)
            )
            task_submit(self.task.pk)

    def not_an_attempt(self) -> None:
        """The run was cut short by no fault of the task's."""
        with suppress(LeaseLost, DatabaseError, InterfaceError):
            self._write(attempts=F("attempts") - 1)

    def end(self, state: TaskState, code: ResultCode, description: str, **changes: Any) -> None:
        """Within ``transaction``."""
        self._write(
            state=state,
            task_status=code.value,
            description=description,
            ended_at=clock.now(),
            lease_owner="",
            lease_until=None,
            **changes,
        )

    def _reached(self, fraction: float = 0.0) -> Greatest:
        return Greatest(F("progress"), Value(self.saga.percent(self.steps_done, fraction)))

    def _mine(self) -> QuerySet[Task]:
        owner = self.task.lease_owner
        return Task.objects.filter(pk=self.task.pk, lease_owner=owner, state__in=sorted(ACTIVE))

    def _write(self, **changes: Any) -> None:
        if not self._mine().update(**changes):
            raise LeaseLost


def run(task_id: str) -> None:
    """Work off a task as far as it goes now; nothing happens where somebody else does already.

    A refusal (``ProvisionerError``) ends it as FAILED with that code, any other error with
    InternalError; a database that cannot be reached ends nothing: the task is resumed later. A task
    whose workers died ``task_attempts`` times with no step done between is FAILED, too.
    """
    context = None if writes_barred() else _claim(task_id)
    if context is None:
        return
    try:
        _expect_survival(context)
        _work(context)
    except LeaseLost:
        log.info("task ended or taken over", extra={"task": task_id})
    except HandedOn:
        log.info("task handed on", extra={"task": task_id})
        context.hand_on()
    except (OperationalError, InterfaceError) as error:
        log.warning("task interrupted", extra={"task": task_id, "reason": str(error)})
        context.not_an_attempt()
    except (SystemExit, KeyboardInterrupt):
        context.not_an_attempt()
        raise
    except ProvisionerError as error:
        log.info("task failed", extra={"task": task_id, "reason": f"{error} {error.internal}"})
        _fail(context, error.code, error.description)
    except Exception as error:  # noqa: BLE001 - logged where it is a bug
        _broken(context, error)


def _claim(task_id: str) -> Context | None:
    """The task with its lease, if it is to be had: it has no owner, or its lease is over."""
    task = Task.objects.filter(pk=task_id).first()
    saga = saga_of(task) if task else None
    if task is None or saga is None:
        return None
    free = Q(lease_owner="") | Q(lease_until__lte=clock.now())
    rows = Task.objects.filter(free, pk=task_id, state__in=sorted(ACTIVE))
    changes: dict[str, Any] = {
        "lease_owner": _new_owner(),
        "lease_until": _after(LEASE_SECONDS),
        "attempts": F("attempts") + 1,
    }
    if not saga.is_hosts(task):
        started_at = Coalesce(F("started_at"), Value(clock.now()))
        changes |= {"state": TaskState.RUNNING, "started_at": started_at}
    if not rows.update(**changes):
        return None
    mine = Task.objects.filter(pk=task_id, lease_owner=changes["lease_owner"]).first()
    return Context(mine, saga) if mine else None


def _broken(context: Context, error: Exception) -> None:
    """A bug, or the database's own refusal to go on, which ends nothing."""
    if refusal_of(error):
        context.not_an_attempt()
        return
    log.error("task failed", extra={"task": context.task.pk}, exc_info=error)
    _fail(context, ResultCode.InternalError, "internal error; the log has the details")


def _expect_survival(context: Context) -> None:
    """:raises GivenUp: nobody survived this step, as often as it was tried."""
    died = context.task.attempts - 1
    if died >= settings.ENVIRONMENT.task_attempts:
        raise GivenUp(
            f"given up after {died} attempts: the worker died each time in step "
            f"{context.steps_done + 1}"
        )


def _work(context: Context) -> None:
    *steps, last = context.saga.steps
    for step in steps[context.steps_done :]:
        context.expect_to_go_on()
        result = step.run(context)
        if isinstance(result, Later):
            context.pause(result)
            return
        context.advance(result)
    with context.transaction():
        outputs = last.run(context)
        assert not isinstance(outputs, Later), "the last step cannot wait"
        context.end(
            TaskState.FINISHED,
            ResultCode.Success,
            ResultCode.Success.value,
            progress=COMPLETE,
            steps_done=len(context.saga.steps),
            outputs=context.outputs | dict(outputs or {}),
        )


def _fail(context: Context, code: ResultCode, description: str) -> None:
    with suppress(LeaseLost), context.transaction():
        undo(Task.objects.get(pk=context.task.pk))
        context.end(TaskState.FAILED, code, description)


def _new_owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"


def _after(seconds: float) -> dt.datetime:
    return clock.now() + dt.timedelta(seconds=seconds)
