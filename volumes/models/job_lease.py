"""Leases of periodic jobs."""

from django.db import models


class JobLease(models.Model):
    """The lease of a periodic job that one worker at a time does. No other worker may start it
    before ``until``.

    ``unbroken_since``: the time since which the job has run without a long pause.
    """

    job = models.CharField(primary_key=True, max_length=64)
    until = models.DateTimeField()
    unbroken_since = models.DateTimeField()

    def __str__(self) -> str:
        return self.job
