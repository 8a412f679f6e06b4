from typing import ClassVar

from django.db import models

from volumes.models.replica import Replica


class ReplicaRelocation(models.Model):
    """What became of the attempts to have another replica in the place of one that is to leave its
    node, or is lost. It goes with that replica.

    ``task_id``: the task of the last attempt, until its end was noted. ``refusal``: why the last
    attempt failed; empty: it goes on. Before ``again_at`` there is no other.
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
