"""Publications of volumes to hosts, their exports on nodes, and namespace ids."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from inventory.models import Host
from provisioner.common import clock
from provisioner.common.models import LifeState
from volumes.models.idempotent import IdempotentMixin
from volumes.models.replica import Replica
from volumes.models.volume import Volume

NQN_PREFIX = "nqn.2022-08.com.kioxia:"
COPY_PREFIX = "nqn.2022-08.com.kioxia.copy:"
NODE_PREFIX = "nqn.2022-08.com.kioxia.node:"


def target_nqn(host_uuid: str) -> str:
    """Return the NQN of a host's target. Each host has one target NQN, which is the same on every
    node.
    """
    return NQN_PREFIX + host_uuid


def copy_target_nqn(replica_key: int) -> str:
    """Return the NQN of the target through which data is copied into a replica. It differs from the
    NQNs of all hosts' targets.
    """
    return f"{COPY_PREFIX}{replica_key}"


def copy_host_nqn(backend_id: str) -> str:
    """Return the NQN with which a node identifies itself when it connects to targets on other
    nodes.
    """
    return NODE_PREFIX + backend_id


class Publication(IdempotentMixin):
    """A volume that is published to a host. A ``Local`` volume needs no target and has no exports.

    Unpublishing deletes the row at once. Its exports stay until their nodes confirm the removal.
    """

    volume = models.ForeignKey(Volume, on_delete=models.PROTECT, related_name="publications")
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="publications")
    state = models.CharField(max_length=8, choices=LifeState.choices, default=LifeState.CREATING)
    deadline_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["volume", "host"], name="published_once_per_host"),
            models.CheckConstraint(
                condition=Q(state=LifeState.READY) | Q(deadline_at__isnull=False),
                name="publication_passing_state_has_deadline",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["deadline_at"],
                condition=Q(deadline_at__isnull=False),
                name="publication_unfinished",
            )
        ]

    def __str__(self) -> str:
        return f"{self.volume_id} to {self.host_id}"


class NamespaceId(models.Model):
    """The namespace id of a replica in a host's target, on every node.

    Hosts expect that an id always names the same volume. So the row is kept for a while after the
    last export of the replica was removed.

    ``last_used_at``: when an export with this id was last created, removed, or seen by the
    collector, which looks once a day. ``replica_key``: the replica, which may be deleted; null: no
    replica may use the id for now.
    """

    target_nqn = models.CharField(max_length=223)
    nsid = models.PositiveIntegerField()
    replica_key = models.BigIntegerField(null=True, blank=True)
    last_used_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering: ClassVar = ["target_nqn", "nsid"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["target_nqn", "nsid"], name="id_is_one_namespace"),
            models.UniqueConstraint(
                fields=["target_nqn", "replica_key"], name="namespace_has_one_id"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["last_used_at"], name="namespace_ids_by_age")]

    def __str__(self) -> str:
        return f"{self.nsid} of {self.target_nqn}"


class Export(models.Model):
    """A replica as a namespace of a target, on the node of the replica.

    The target is a host's target or, with ``for_copy``, a target through which another node copies
    data into the replica. ``publication`` is null for a copy, and while the export is being
    removed. ``by_piece``: each sub-volume is a namespace, the first one with the id ``nsid``.
    ``host_nqn``: the NQN that the node was last asked to admit. The row of the host has the NQN
    that the node should admit.

    ``id`` never decreases and is the generation of calls to the node. If a volume is published
    again while the node has not confirmed the removal of an old export, the replica has both
    exports. The node obeys the later one.
    """

    id = models.BigAutoField(primary_key=True)
    publication = models.ForeignKey(
        Publication, on_delete=models.PROTECT, related_name="exports", null=True, blank=True
    )
    target_nqn = models.CharField(max_length=223)
    nsid = models.PositiveIntegerField()
    host_nqn = models.CharField(max_length=223, help_text="NQN that may connect")
    replica = models.ForeignKey(Replica, on_delete=models.PROTECT, related_name="exports")
    for_copy = models.BooleanField(default=False)
    by_piece = models.BooleanField(default=False, db_default=False)
    state = models.CharField(max_length=8, choices=LifeState.choices, default=LifeState.CREATING)
    deadline_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["publication", "replica"],
                condition=~Q(state=LifeState.DELETING),
                name="exported_once",
            ),
            models.UniqueConstraint(
                fields=["replica"],
                condition=~Q(state=LifeState.DELETING) & Q(for_copy=True),
                name="copied_into_once",
            ),
            models.CheckConstraint(
                condition=Q(state=LifeState.DELETING, publication__isnull=True)
                | Q(for_copy=False, publication__isnull=False) & ~Q(state=LifeState.DELETING)
                | Q(for_copy=True, publication__isnull=True) & ~Q(state=LifeState.DELETING),
                name="export_belongs_to_publication",
            ),
            models.CheckConstraint(
                condition=Q(state=LifeState.READY) | Q(deadline_at__isnull=False),
                name="export_passing_state_has_deadline",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["deadline_at"],
                condition=Q(deadline_at__isnull=False),
                name="export_unfinished",
            ),
            models.Index(fields=["target_nqn", "nsid"], name="exports_by_id"),
            models.Index(fields=["host_nqn"], name="exports_by_host_nqn"),
        ]

    def __str__(self) -> str:
        return f"{self.replica_id} in {self.target_nqn} as {self.nsid}"
