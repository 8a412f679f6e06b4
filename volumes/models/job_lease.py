"""Leases of periodic jobs."""

from django.db import models


class JobLease(models.Model):
    """A periodic job that only one worker at a time does. Until ``until`` no other worker may start
    it.

    ``unbroken_since``: since when it has been done without a long pause.
    """

    job = models.CharField(primary_key=True, max_length=64)
    until = models.DateTimeField()
    unbroken_since = models.DateTimeField()

    def __str__(self) -> str:
        return self.job
