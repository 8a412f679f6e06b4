"""Which volumes would lose access or redundancy if a node stopped now."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Case, Count, OuterRef, Q, QuerySet, Subquery, Value, When

from inventory.models import Backend
from inventory.services.node.register import BackendNotFound
from provisioner.common import clock
from provisioner.common.models import LifeState
from volumes.models import Replica, ReplicaState

ACCESS = "access"
REDUNDANCY = "redundancy"


@dataclass(frozen=True)
class Maintenance:
    """The effects of a stop of a node.

    ``replicas``: the replicas on the node whose volume would lose access or redundancy, each with
    its volume and ``loses`` (ACCESS or REDUNDANCY). ``access``, ``redundancy``: how many of each.
    """

    replicas: QuerySet[Replica]
    access: int
    redundancy: int

    @property
    def safe(self) -> bool:
        """Whether no volume would lose access or redundancy."""
        return not (self.access or self.redundancy)


def backend_maintenance(*, persistent_id: str) -> Maintenance:
    """Return the effects of a stop of the node now.

    A volume loses access if no other replica is Available on an Available node. If all replicas are
    Unknown, because no host ever attached the volume, another Unknown replica on an Available node
    counts as good. A volume with another good replica loses redundancy only, and nothing if its
    replica on this node is Terminating. A Missing replica on this node is no loss.

    :raises BackendNotFound: there is no such node.
    """
    if not Backend.objects.filter(pk=persistent_id).exists():
        raise BackendNotFound.of(persistent_id)
    replicas = _losing(persistent_id)
    number = dict(replicas.order_by().values_list("loses").annotate(Count("pk")))
    return Maintenance(replicas, number.get(ACCESS, 0), number.get(REDUNDANCY, 0))


def _losing(persistent_id: str) -> QuerySet[Any]:
    """The replicas with ``loses``. One subquery over the volume reads ``loses`` once for each
    replica.
    """
    outgoing = Q(replica_state=ReplicaState.TERMINATING)
    rows = Replica.objects.filter(
        backend=persistent_id,
        state=LifeState.READY,
        rebuilding=False,
        volume__state=LifeState.READY,
    )
    return (
        rows.exclude(replica_state=ReplicaState.MISSING)
        .annotate(loses=_loses(persistent_id))
        .exclude(outgoing, loses=REDUNDANCY)
        .select_related("volume")
        .order_by("volume__uuid")
    )


def _loses(persistent_id: str) -> Subquery:
    live = Replica.objects.filter(
        volume=OuterRef("volume"), state=LifeState.READY, rebuilding=False
    )
    up = Q(backend__available_until__gte=clock.now())
    elsewhere = up & ~Q(backend=persistent_id)
    unknown = Q(replica_state=ReplicaState.UNKNOWN)
    available = Q(replica_state=ReplicaState.AVAILABLE)
    counted = (
        live.order_by()
        .values("volume")
        .alias(
            available=Count("pk", filter=elsewhere & available),
            unknown=Count("pk", filter=elsewhere & unknown),
            attached=Count("pk", filter=~unknown),
        )
    )
    another = Q(available__gt=0) | Q(attached=0, unknown__gt=0)
    loses = Case(When(another, then=Value(REDUNDANCY)), default=Value(ACCESS))
    return Subquery(counted.annotate(loses=loses).values("loses"))
