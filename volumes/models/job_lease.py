from django.db import models


class JobLease(models.Model):
    """A periodic job that one worker at a time does: until ``until`` nobody else.

    ``unbroken_since``: since when it is done again and again, with no long pause between.
    """

    job = models.CharField(primary_key=True, max_length=64)
    until = models.DateTimeField()
    unbroken_since = models.DateTimeField()

    def __str__(self) -> str:
        return self.job
