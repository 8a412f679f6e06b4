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
    """The NQN of a host's one target, the same on every node (contract, section 7)."""
    return NQN_PREFIX + host_uuid


def copy_target_nqn(replica_key: int) -> str:
    """The NQN of the target that data is copied into one replica by; no host's can be the same."""
    return f"{COPY_PREFIX}{replica_key}"


def copy_host_nqn(backend_id: str) -> str:
    """The NQN by which a node connects to the targets of others."""
    return NODE_PREFIX + backend_id


class Publication(IdempotentMixin):
    """A volume published to a host. A ``Local`` volume needs no target, and has no exports.

    Unpublished, the row goes at once; its exports stay until their nodes confirmed.
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
    """The namespace id of a replica in a host's target, on whatever node: of an id that hosts once
    saw, they expect that it stays the same volume. So it is kept for a while after the replica's
    last export went.

    ``last_used_at``: when an export that had it came or went. ``replica_key``: of a replica that
    may be gone; null: several replicas had the id before each had its own.
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
    """A replica as a namespace of a target, on the replica's node: of a host's target, or, with
    ``for_copy``, of one that the node connects to which copies its data into the replica.
    ``publication`` is null in the latter, and once it is being removed. ``by_piece``: each of its
    pieces is a namespace, the first with ``nsid``. ``host_nqn`` is what the node was last asked to
    admit; who may connect is the host's row to say.

    ``id`` only ever grows and is the generation of what is asked of the node. Published again
    while an old export still waits for a dead node, a replica has both: the node obeys the later
    one.
    """

    id = models.BigAutoField(primary_key=True)
    publication = models.ForeignKey(
        Publication, on_delete=models.PROTECT, related_name="exports", null=True, blank=True
    )
    target_nqn = models.CharField(max_length=223)
    nsid = models.PositiveIntegerField()
    host_nqn = models.CharField(max_length=223, help_text="who may connect")
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
            models.Index(fields=["target_nqn"], name="exports_of_target"),
        ]

    def __str__(self) -> str:
        return f"{self.replica_id} in {self.target_nqn} as {self.nsid}"
