from typing import ClassVar

from django.db import models
from django.db.models import Q

from inventory.models import Host
from provisioner.common.models import LifeState
from volumes.models.replica import Replica
from volumes.models.volume import Volume


class Target(models.Model):
    """The one NVMe-oF target of a host: the same NQN on every node (contract, section 7)."""

    nqn = models.CharField(primary_key=True, max_length=223)
    host = models.OneToOneField(Host, on_delete=models.PROTECT, related_name="target")

    class Meta:
        ordering: ClassVar = ["nqn"]

    def __str__(self) -> str:
        return self.nqn


class Publication(models.Model):
    """A volume published to a host, under one namespace id on all nodes."""

    volume = models.ForeignKey(Volume, on_delete=models.PROTECT, related_name="publications")
    target = models.ForeignKey(Target, on_delete=models.PROTECT, related_name="publications")
    nsid = models.PositiveIntegerField()
    state = models.CharField(max_length=8, choices=LifeState.choices, default=LifeState.CREATING)
    deadline_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["volume", "target"], name="published_once_per_host"),
            models.UniqueConstraint(fields=["target", "nsid"], name="nsid_once_per_target"),
            models.CheckConstraint(
                condition=Q(state=LifeState.READY) | Q(deadline_at__isnull=False),
                name="publication_passing_state_has_deadline",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["deadline_at"], condition=Q(deadline_at__isnull=False), name="publication_unfinished"
            )
        ]

    def __str__(self) -> str:
        return f"{self.volume_id} in {self.target_id} as {self.nsid}"


class Export(models.Model):
    """A replica as a namespace of its host's target, on the replica's node.

    ``id`` only ever grows and is the generation of what is asked of the node.
    """

    id = models.BigAutoField(primary_key=True)
    publication = models.ForeignKey(Publication, on_delete=models.PROTECT, related_name="exports")
    replica = models.ForeignKey(Replica, on_delete=models.PROTECT, related_name="exports")
    state = models.CharField(max_length=8, choices=LifeState.choices, default=LifeState.CREATING)
    deadline_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["publication", "replica"], name="exported_once"),
            models.CheckConstraint(
                condition=Q(state=LifeState.READY) | Q(deadline_at__isnull=False),
                name="export_passing_state_has_deadline",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["deadline_at"], condition=Q(deadline_at__isnull=False), name="export_unfinished"
            )
        ]

    def __str__(self) -> str:
        return f"{self.replica_id} by {self.publication_id}"
