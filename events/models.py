"""The event log."""

from typing import Any, ClassVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q
from django.db.models.functions import Now
from django.db.models.sql.compiler import SQLCompiler

from events.kinds import Severity


class ClockTimestamp(Now):
    """The time of the database when the row is inserted. It is taken after the number of the row,
    because the columns are filled in their order.
    """

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra_context: Any
    ) -> Any:
        return self.as_sql(compiler, connection, template="CLOCK_TIMESTAMP()", **extra_context)

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra_context: Any
    ) -> Any:
        """As text of microseconds, like the times with which Django compares it as text."""
        now = "STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f000', 'NOW')"
        return self.as_sql(compiler, connection, template=now, **extra_context)


class Event(models.Model):
    """An event. Rows are never changed, except that the events of a deleted tenant get no tenant.

    ``at``: the time of the database. ``text``: the event in one sentence. ``reason``: why it
    happened. ``actor_type`` and ``actor``: who caused it. ``subjects``: the objects of the event,
    each as ``type:id`` (indexed, migration 0001). ``tenant_id``: the tenant whose callers see the
    event; empty: the event concerns the pool.
    """

    class Actor(models.TextChoices):
        """The type of the actor of an event."""

        CALLER = "caller"
        HOST = "host"
        NODE = "node"
        WORKER = "worker"
        COMMAND = "command"

    number = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_default=ClockTimestamp(), db_index=True)
    kind = models.CharField(max_length=32)
    severity = models.PositiveSmallIntegerField(choices=[(int(s), s.wire) for s in Severity])
    text = models.TextField()
    reason = models.TextField(blank=True)
    actor_type = models.CharField(max_length=8, choices=Actor.choices)
    actor = models.CharField(max_length=255)
    request_id = models.CharField(max_length=64, blank=True)
    tenant_id = models.CharField(max_length=64, blank=True)
    subjects = models.JSONField(default=list)
    details = models.JSONField(default=dict)

    class Meta:
        ordering: ClassVar = ["number"]
        indexes: ClassVar = [
            models.Index(fields=["tenant_id", "number"], name="events_of_tenant"),
            models.Index(
                fields=["severity", "at"],
                condition=Q(severity__gte=int(Severity.WARNING)),
                name="urgent_events",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.kind}"
