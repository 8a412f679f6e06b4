"""What would be lost if a node stopped now."""

from dataclasses import dataclass

from django.db.models import Case, Count, Exists, OuterRef, Q, QuerySet, Value, When

from inventory.models import Backend
from inventory.services.backends import BackendNotFound
from provisioner.common import clock
from provisioner.common.models import LifeState
from volumes.models import Replica, ReplicaState

ACCESS = "access"
REDUNDANCY = "redundancy"


@dataclass(frozen=True)
class Maintenance:
    """``replicas``: those on the node whose volume would lose something, with ``loses``, ACCESS or
    REDUNDANCY, and their volume. ``access`` and ``redundancy``: how many of each.
    """

    replicas: QuerySet[Replica]
    access: int
    redundancy: int

    @property
    def safe(self) -> bool:
        """No volume would lose anything."""
        return not (self.access or self.redundancy)


def backend_maintenance(*, persistent_id: str) -> Maintenance:
    """What would be lost with the node: a volume loses access where no other replica on an
    Available node is Available (or all replicas are Unknown, never attached), else redundancy;
    nothing where its replica here is Missing, or on its way out beside a good one.

    :raises BackendNotFound: there is none.
    """
    if not Backend.objects.filter(pk=persistent_id).exists():
        raise BackendNotFound.of(persistent_id)
    replicas = _losing(persistent_id)
    number = {name: Count("pk", filter=Q(loses=name)) for name in (ACCESS, REDUNDANCY)}
    return Maintenance(replicas, **replicas.aggregate(**number))


def _losing(persistent_id: str) -> QuerySet[Replica]:
    live = Replica.objects.filter(
        volume=OuterRef("volume"), state=LifeState.READY, rebuilding=False
    )
    reachable = live.filter(backend__available_until__gte=clock.now()).exclude(
        backend=persistent_id
    )
    attached = Exists(live.exclude(replica_state=ReplicaState.UNKNOWN))
    unknown = Exists(reachable.filter(replica_state=ReplicaState.UNKNOWN))
    another = Q(Exists(reachable.filter(replica_state=ReplicaState.AVAILABLE))) | Q(
        ~attached, unknown
    )
    outgoing = Q(replica_state=ReplicaState.TERMINATING)
    rows = Replica.objects.filter(
        backend=persistent_id,
        state=LifeState.READY,
        rebuilding=False,
        volume__state=LifeState.READY,
    )
    return (
        rows.exclude(replica_state=ReplicaState.MISSING)
        .annotate(loses=Case(When(another, then=Value(REDUNDANCY)), default=Value(ACCESS)))
        .exclude(outgoing, loses=REDUNDANCY)
        .select_related("volume")
        .order_by("volume__uuid")
    )
