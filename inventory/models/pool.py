import uuid
from typing import ClassVar

from django.db import models

from provisioner.common import clock

THE_ONE = 1


def new_identity() -> str:
    return str(uuid.uuid4())


class Pool(models.Model):
    """This pool, which its nodes and all that it makes on them are marked with: there is one row.

    ``seal``: of the very database and table that the row was written for; a copy of the database
    has another, and hands out no generation until an operator says that it is the pool's.
    ``doubt``: why the database seems to be older than a node; empty: it does not.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONE)
    uuid = models.CharField(max_length=36, default=new_identity)
    name = models.CharField(max_length=64)
    seal = models.CharField(max_length=128, blank=True)
    doubt = models.TextField(blank=True)
    doubt_since = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(id=THE_ONE), name="one_pool")
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.uuid})"


class Recovery(models.Model):
    """That an older database was put in order. What nodes hold of the generations after
    ``after_generation`` up to ``until_generation`` was made in between, and no row may know it.

    ``awaited``: ids of backends that did not answer then, whose contents are still to be compared.
    """

    after_generation = models.BigIntegerField()
    until_generation = models.BigIntegerField()
    awaited = models.JSONField(default=list, blank=True)
    at = models.DateTimeField(default=clock.now)

    class Meta:
        verbose_name_plural = "recoveries"
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S}"
