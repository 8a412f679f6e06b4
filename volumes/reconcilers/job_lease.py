"""Jobs that one worker at a time does, however many are asked to."""

import datetime as dt
from dataclasses import dataclass

from django.conf import settings

from provisioner.common import clock
from volumes.models import JobLease

LEASE = dt.timedelta(seconds=60)


@dataclass
class HeldLease:
    """It is ours until ``until``. ``unbroken_since``: since when somebody has always done the
    job; a pause in which no node can have come to seem Unavailable does not count.
    """

    job: str
    until: dt.datetime
    unbroken_since: dt.datetime

    def renew(self) -> bool:
        """Ours for another TURN; False: it took too long, and is somebody else's."""
        return self._move_until(clock.now() + LEASE)

    def release(self) -> None:
        self._move_until(clock.now())

    def _move_until(self, until: dt.datetime) -> bool:
        mine = JobLease.objects.filter(pk=self.job, until=self.until)
        self.until = until
        return bool(mine.update(until=until))


def job_lease_acquire(job: str) -> HeldLease | None:
    """The turn to do the job; None: somebody has it. One whose holder died is free after TURN."""
    now = clock.now()
    row, _ = JobLease.objects.get_or_create(pk=job, defaults={"until": now, "unbroken_since": now})
    environment = settings.ENVIRONMENT
    pause = dt.timedelta(
        seconds=environment.probe_interval_seconds + environment.collect_interval_seconds
    )
    since = row.unbroken_since if now - row.until < pause else now
    lease = HeldLease(job, now + LEASE, since)
    free = JobLease.objects.filter(pk=job, until=row.until, until__lte=now)
    return lease if free.update(until=lease.until, unbroken_since=since) else None
