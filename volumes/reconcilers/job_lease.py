"""Leases of jobs that only one worker at a time may do."""

import datetime as dt
from dataclasses import dataclass

from django.conf import settings

from provisioner.common import clock
from volumes.models import JobLease

LEASE = dt.timedelta(seconds=60)


@dataclass
class HeldLease:
    """A lease that this worker holds until ``until``.

    ``unbroken_since``: the time since which workers have run the job without a long pause. A pause
    is long if a node may have become Unavailable and Available again unnoticed.
    """

    job: str
    until: dt.datetime
    unbroken_since: dt.datetime

    def renew(self) -> bool:
        """Extend the lease to LEASE from now. Returns False if the lease had expired and another
        worker has acquired it.
        """
        return self._move_until(clock.now() + LEASE)

    def release(self) -> None:
        """Release the lease."""
        self._move_until(clock.now())

    def _move_until(self, until: dt.datetime) -> bool:
        mine = JobLease.objects.filter(pk=self.job, until=self.until)
        self.until = until
        return bool(mine.update(until=until))


def job_lease_acquire(job: str) -> HeldLease | None:
    """Acquire the lease of the job. Returns None if another worker holds it.

    If the holder dies, the lease expires after LEASE. A lease that ends later than a holder can set
    has expired, too: the database's clock has stepped back since.
    """
    now = clock.now()
    row, _ = JobLease.objects.get_or_create(pk=job, defaults={"until": now, "unbroken_since": now})
    environment = settings.ENVIRONMENT
    pause = dt.timedelta(
        seconds=environment.probe_interval_seconds + environment.collect_interval_seconds
    )
    has_stepped_back = row.until > now + LEASE + clock.TOLERANCE
    if row.until > now and not has_stepped_back:
        return None
    is_unbroken = now - row.until < pause and not has_stepped_back
    lease = HeldLease(job, now + LEASE, min(row.unbroken_since, now) if is_unbroken else now)
    free = JobLease.objects.filter(pk=job, until=row.until)
    is_mine = free.update(until=lease.until, unbroken_since=lease.unbroken_since)
    return lease if is_mine else None
