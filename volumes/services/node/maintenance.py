"""Which volumes would lose access or redundancy if a node stopped now."""

from dataclasses import dataclass

from django.db.models import Case, Count, Exists, OuterRef, Q, QuerySet, Value, When

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

    ``replicas``: the replicas on the node whose volume would lose access or redundancy, with their
    volume and ``loses`` (ACCESS or REDUNDANCY). ``access``, ``redundancy``: the number of each.
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
