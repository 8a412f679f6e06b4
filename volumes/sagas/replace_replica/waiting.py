"""Pauses and time limits of steps that wait for nodes and hosts."""

import logging
import time
from typing import Any

from django.conf import settings

from provisioner.common import clock
from provisioner.common.results import ProvisionerError, ResultCode
from tasks.context import Context, Reschedule
from volumes.models import Replica
from volumes.selectors import LIVE
from volumes.services.publication.exports import mark_replicas_deleting

NODE_SECONDS = 5.0
HOST_SECONDS = 30.0
CALL_SECONDS = 8.0
log = logging.getLogger(__name__)


LEAST_SECONDS = 1.0
LONGEST_SECONDS = 24 * 3600
LAST_WAIT, LAST_COPY_AT = "waits", "was_doing"
"""Keys in the ``outputs`` of tasks. Rows of tasks have these texts, so they do not change."""


class Stalled(ProvisionerError):
    """The node or host that the task waits for has made no progress for too long."""

    code = ResultCode.NotAvailable


def wait_for(context: Context, waiting: Reschedule) -> Reschedule:
    """Return ``waiting`` if the wait still makes progress.

    :raises Stalled: there was no progress for ``migration_silence_seconds``, or LONGEST_SECONDS
        have passed without a copy that progresses.
    """
    now, mark = clock.epoch_seconds(), waiting.progress_mark or waiting.pending_reason
    before, since = context.outputs.get(LAST_WAIT, (None, now))
    since = since if before == mark else now
    silence = settings.ENVIRONMENT.migration_silence_seconds
    if now - since > silence:
        raise Stalled(f"waited {silence} s in vain for {waiting.pending_reason}")
    outputs: dict[str, Any] = {LAST_WAIT: [mark, since]}
    idle_since = context.outputs.get(LAST_COPY_AT, context.task.created_at.timestamp())
    if waiting.ends_by_itself:
        outputs[LAST_COPY_AT] = now
    elif now - idle_since > LONGEST_SECONDS:
        raise Stalled(f"not done after {LONGEST_SECONDS} s, waiting for {waiting.pending_reason}")
    return Reschedule(
        seconds=max(waiting.seconds, LEAST_SECONDS),
        outputs=outputs,
        pending_reason=waiting.pending_reason,
    )


class RebuildFailed(ProvisionerError):
    """The new replica cannot be rebuilt."""

    code = ResultCode.NotAvailable


def replica_abort(context: Context, replica: Replica | None, why: str) -> Reschedule:
    """Mark the new replica as deleting. The next step creates another one."""
    if replica is not None:
        log.warning("new replica aborted", extra={"replica": replica.uuid, "reason": why})
        with context.transaction():
            rows = Replica.objects.filter(LIVE, pk=replica.pk, created_by_task=context.task.pk)
            mark_replicas_deleting(rows, deadline_at=clock.now())
    return Reschedule(why)


def task_call_deadline() -> float:
    """Return the time, on the monotonic clock, by which node calls that begin now must end. It is
    well within the lease of a task.
    """
    return time.monotonic() + CALL_SECONDS
