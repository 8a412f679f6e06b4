"""State of replicas, and since when they have it."""

from django.db.models import QuerySet

from provisioner.common import clock
from volumes.models import Replica, ReplicaState


def replica_state_set(rows: QuerySet[Replica], state: ReplicaState) -> int:
    """Set the state of ``rows`` and its time in one statement. Returns how many rows that were."""
    return rows.update(replica_state=state, replica_state_since=clock.now())
