"""How long the tasks of volumes wait."""

from typing import Any

from django.conf import settings

from provisioner.common import clock
from provisioner.common.results import ProvisionerError, ResultCode
from tasks.runner import Context
from tasks.saga import Later
from volumes.services.replacement import Waiting

LEAST_SECONDS = 1.0
LONGEST_SECONDS = 24 * 3600
WAITS, WAS_DOING = "waits", "was_doing"


class NoSignOfLife(ProvisionerError):
    """Who was waited for did nothing for too long."""

    code = ResultCode.NotAvailable


def later(context: Context, waiting: Waiting) -> Later:
    """Look again, as long as there is some sign of life.

    :raises NoSignOfLife: there was none for ``migration_silence_seconds``, or it waited for what
        need not end for LONGEST_SECONDS.
    """
    now, sign = clock.epoch_seconds(), waiting.sign or waiting.text
    before, since = context.outputs.get(WAITS, (None, now))
    since = since if before == sign else now
    silence = settings.ENVIRONMENT.migration_silence_seconds
    if now - since > silence:
        raise NoSignOfLife(f"waited {silence} s in vain for {waiting.text}")
    outputs: dict[str, Any] = {WAITS: [sign, since]}
    idle_since = context.outputs.get(WAS_DOING, context.task.created_at.timestamp())
    if waiting.ends:
        outputs[WAS_DOING] = now
    elif now - idle_since > LONGEST_SECONDS:
        raise NoSignOfLife(f"not done after {LONGEST_SECONDS} s; it waited for {waiting.text}")
    return Later(max(waiting.seconds, LEAST_SECONDS), outputs, waiting.text)
