"""Attempts to replace a replica."""

from typing import ClassVar

from django.db import models

from volumes.models.replica import Replica


class ReplicaRelocation(models.Model):
    """The attempts to replace a replica that is lost or must leave its node. The row is deleted
    together with the replica.

    ``task_id``: the task of the last attempt, until its result is recorded. ``refusal``: the reason
    why the last attempt failed, or "". ``again_at``: the earliest start of the next attempt.
    """

    replica = models.OneToOneField(
        Replica, on_delete=models.CASCADE, primary_key=True, related_name="relocation"
    )
    attempts = models.PositiveIntegerField(default=0)
    task_id = models.CharField(max_length=64, blank=True)
    refusal = models.TextField(blank=True)
    again_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["replica"]

    def __str__(self) -> str:
        return f"of {self.replica_id}"
