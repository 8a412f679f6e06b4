"""Syslog servers, and the records that wait for them."""

from typing import ClassVar

from django.db import models

from inventory.models.backend import Backend
from provisioner.common import clock

LONGEST_TEXT = 255
THE_ONE = 1


class SyslogSource(models.Model):
    """The node whose syslog settings the pool uses: a single row. It is locked while the settings
    are replaced.

    ``backend`` is null if no settings are known, or if their node was removed from the pool. Then
    the settings stay until the settings of another node replace them.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONE)
    backend = models.ForeignKey(
        Backend, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    read_at = models.DateTimeField(default=clock.now)
    forwarded_event = models.BigIntegerField(
        null=True, blank=True, help_text="number of the last forwarded event"
    )

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(id=THE_ONE), name="one_syslog_source")
        ]

    def __str__(self) -> str:
        return str(self.backend or "no node")


class SyslogServer(models.Model):
    """A syslog server in the settings of a node. Its ``url`` identifies it.

    ``next_try_at``: no job sends to the server before this time. While a job sends, it is the time
    after which that job counts as dead. After a failure, it is the end of the pause, whose length
    increases with ``failures``.
    """

    url = models.CharField(max_length=LONGEST_TEXT, unique=True)
    node_server_id = models.BigIntegerField(help_text="id of the server on the node")
    name = models.CharField(max_length=LONGEST_TEXT)
    state = models.BooleanField(help_text="the node reports that it is connected to the server")
    use_tls = models.BooleanField()
    cert_file_name = models.CharField(max_length=LONGEST_TEXT, blank=True)
    certificate = models.TextField(blank=True, help_text="PEM of the only trusted certificate")
    next_try_at = models.DateTimeField(default=clock.now)
    failures = models.PositiveIntegerField(default=0, help_text="consecutive failures")

    class Meta:
        ordering: ClassVar = ["node_server_id", "url"]

    def __str__(self) -> str:
        return self.url


class SyslogRecord(models.Model):
    """A record that still waits for one server. ``content`` is the complete record in RFC 5424
    format. ``created_at``: since when the record waits.
    """

    server = models.ForeignKey(SyslogServer, on_delete=models.CASCADE, related_name="records")
    content = models.BinaryField()
    created_at = models.DateTimeField(default=clock.now, db_index=True)

    class Meta:
        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return f"{self.pk} to {self.server}"
