from typing import ClassVar

from django.db import models

from inventory.models.backend import Backend
from provisioner.common import clock

LONGEST_TEXT = 255
THE_ONE = 1


class SyslogSource(models.Model):
    """The node whose syslog settings count: one row, locked by whoever replaces them.

    ``backend`` is null where no settings are known, or when their node left the pool; the settings
    stay until those of another node take their place.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONE)
    backend = models.ForeignKey(
        Backend, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    read_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(id=THE_ONE), name="one_syslog_source")
        ]

    def __str__(self) -> str:
        return str(self.backend or "no node")


class SyslogServer(models.Model):
    """A syslog server as a node's settings have it; ``url`` is what makes it the same one.

    ``next_try_at``: before this no job sends to it. While a job does, it is when that job counts as
    dead; after a failure it is the end of the pause, which grows with ``failures``.
    """

    url = models.CharField(max_length=LONGEST_TEXT, unique=True)
    node_server_id = models.BigIntegerField(help_text="its id on the node")
    name = models.CharField(max_length=LONGEST_TEXT)
    state = models.BooleanField(help_text="the node says that it is connected to it")
    use_tls = models.BooleanField()
    cert_file_name = models.CharField(max_length=LONGEST_TEXT, blank=True)
    certificate = models.TextField(blank=True, help_text="PEM that is trusted, and nothing else")
    next_try_at = models.DateTimeField(default=clock.now)
    failures = models.PositiveIntegerField(default=0, help_text="in a row")

    class Meta:
        ordering: ClassVar = ["node_server_id", "url"]

    def __str__(self) -> str:
        return self.url


class SyslogRecord(models.Model):
    """A record that one server has not got yet: ``content`` is all of it, as RFC 5424 writes it."""

    server = models.ForeignKey(SyslogServer, on_delete=models.CASCADE, related_name="records")
    content = models.BinaryField()
    created_at = models.DateTimeField(default=clock.now, db_index=True)

    class Meta:
        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return f"{self.pk} to {self.server}"
