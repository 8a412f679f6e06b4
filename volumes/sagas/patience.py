"""How long the tasks of volumes wait."""

import datetime as dt
import time

from django.conf import settings
from django.utils import timezone

from provisioner.common.results import ProvisionerError, ResultCode
from tasks.runner import Context
from tasks.saga import Later
from volumes.services.replacement import Waiting

LEAST_SECONDS = 1.0
LONGEST = dt.timedelta(hours=24)
WAITS = "waits"


class NoSignOfLife(ProvisionerError):
    """Who was waited for did nothing for too long."""

    code = ResultCode.NotAvailable


def later(context: Context, waiting: Waiting) -> Later:
    """Look again, as long as there is some sign of life.

    :raises NoSignOfLife: there was none for ``migration_silence_seconds``, or the task is older
        than LONGEST.
    """
    now, sign = time.time(), waiting.sign or waiting.text
    before, since = context.outputs.get(WAITS, (None, now))
    since = since if before == sign else now
    silence = settings.ENVIRONMENT.migration_silence_seconds
    if now - since > silence:
        raise NoSignOfLife(f"waited {silence} s in vain for {waiting.text}")
    if timezone.now() - context.task.created_at > LONGEST:
        raise NoSignOfLife(f"not done after {LONGEST}; it waited for {waiting.text}")
    return Later(max(waiting.seconds, LEAST_SECONDS), {WAITS: [sign, since]}, waiting.text)
