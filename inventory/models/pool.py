"""The identity of the pool, and the recoveries of its database."""

import uuid
from typing import ClassVar

from django.db import models

from provisioner.common import clock

THE_ONE = 1


def new_identity() -> str:
    return str(uuid.uuid4())


class Pool(models.Model):
    """The identity of this pool: a single row. Nodes and all objects on them carry the identity.

    ``seal``: identifies the database and table for which the row was written. A copy of the
    database has another seal. It hands out no generation until an operator confirms that it is the
    database of the pool. ``doubt``: the reason why the database may be older than a node; empty: it
    is not older.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONE)
    uuid = models.CharField(max_length=36, default=new_identity)
    name = models.CharField(max_length=64)
    seal = models.CharField(max_length=128, blank=True)
    doubt = models.TextField(blank=True)
    doubt_since = models.DateTimeField(null=True, blank=True)
    certificate_ends_at = models.DateTimeField(
        null=True, blank=True, help_text="expiry of the certificate at PUBLIC_URL"
    )

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(id=THE_ONE), name="one_pool")
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.uuid})"


class Recovery(models.Model):
    """The recovery of an older database.

    Objects on nodes with generations after ``after_generation`` up to ``until_generation`` may have
    been created after the restored state, so the database may not have them. ``awaited``: ids of
    backends that did not answer during the recovery and have not been compared yet.
    ``keeps_older``: orphans with older generations are kept too, because an operator may have
    adopted them after the restored state.
    """

    after_generation = models.BigIntegerField()
    until_generation = models.BigIntegerField()
    awaited = models.JSONField(default=list, blank=True)
    keeps_older = models.BooleanField(default=False, db_default=False)
    at = models.DateTimeField(default=clock.now)

    class Meta:
        verbose_name_plural = "recoveries"
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S}"
