"""Runs one task. The worker that holds the lease runs the steps that are not done yet.

If this worker is killed at any line, the lease expires, and another worker continues with the step
that was not recorded as done.
"""

import logging
import os
import socket
import uuid
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce

from provisioner.common import clock
from provisioner.common.database import unavailable
from provisioner.common.results import ProvisionerError, ResultCode
from provisioner.common.writes import refusal_of, writes_barred
from tasks.context import Context, LeaseLost, Reschedule, ShuttingDown, _after
from tasks.lease import LEASE_SECONDS
from tasks.models import ACTIVE, Task, TaskState
from tasks.saga import saga_of, undo
from tasks.services import COMPLETE

log = logging.getLogger(__name__)


class AttemptsExhausted(ProvisionerError):
    """Workers died too often in one step of the task."""

    code = ResultCode.InternalError


def run(task_id: str) -> None:
    """Run a task until it ends or waits. Does nothing if another worker has its lease.

    A refusal (``ProvisionerError``) ends the task as FAILED with its code. Any other error ends it
    with InternalError. If the database cannot be reached, the task stays active and continues
    later. A task whose workers died ``task_attempts`` times in one step also becomes FAILED.
    """
    context = None if writes_barred() else _claim(task_id)
    if context is None:
        return
    try:
        _require_attempts_left(context)
        _run_steps(context)
    except LeaseLost:
        log.info("the task has ended or was taken over", extra={"task": task_id})
    except ShuttingDown:
        log.info("task handed over", extra={"task": task_id})
        context.hand_over()
    except (OperationalError, InterfaceError) as error:
        log.warning("task interrupted", extra={"task": task_id, "reason": str(error)})
        context.uncount_attempt()
    except (SystemExit, KeyboardInterrupt):
        context.uncount_attempt()
        raise
    except ProvisionerError as error:
        log.info("task failed", extra={"task": task_id, "reason": f"{error} {error.internal}"})
        _fail(context, error.code, error.description)
    except Exception as error:  # noqa: BLE001 - logged if it is a bug
        _fail_by_bug(context, error)


def _claim(task_id: str) -> Context | None:
    """Acquire the lease if it has no owner or has expired. Returns None if another worker has
    it.
    """
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


def _fail_by_bug(context: Context, error: Exception) -> None:
    """Fail the task because of a bug. If the error is that the database refuses writes, or ended
    the session, the task stays active.
    """
    if refusal_of(error) or unavailable(error):
        context.uncount_attempt()
        return
    log.error("task failed", extra={"task": context.task.pk}, exc_info=error)
    _fail(context, ResultCode.InternalError, "internal error; the log has the details")


def _require_attempts_left(context: Context) -> None:
    """:raises AttemptsExhausted: the workers died ``task_attempts`` times in this step."""
    died = context.task.attempts - 1
    if died >= settings.ENVIRONMENT.task_attempts:
        raise AttemptsExhausted(
            f"failed after {died} attempts: each time the worker died in step "
            f"{context.steps_done + 1}"
        )


def _run_steps(context: Context) -> None:
    saga = saga_of(context.task)
    assert saga is not None, "the run was claimed for it"
    *steps, last = saga.steps
    for step in steps[context.steps_done :]:
        context.require_running()
        result = step.run(context)
        if isinstance(result, Reschedule):
            context.pause(result)
            return
        context.advance(result)
    if later := saga.final_check(context):
        context.pause(later)
        return
    with context.transaction():
        outputs = last.run(context)
        assert not isinstance(outputs, Reschedule), "the last step cannot wait"
        context.end(
            TaskState.FINISHED,
            ResultCode.Success,
            ResultCode.Success.value,
            progress=COMPLETE,
            steps_done=len(saga.steps),
            outputs=context.outputs | dict(outputs or {}),
        )


def _fail(context: Context, code: ResultCode, description: str) -> None:
    with suppress(LeaseLost), context.transaction():
        undo(Task.objects.get(pk=context.task.pk))
        context.end(TaskState.FAILED, code, description)


def _new_owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
