"""What is known of replicas, and since when."""

from django.db.models import QuerySet

from provisioner.common import clock
from volumes.models import Replica, ReplicaState


def replica_state_set(rows: QuerySet[Replica], state: ReplicaState) -> int:
    """Each of ``rows`` is ``state`` from now on, in one statement; how many those were."""
    return rows.update(replica_state=state, replica_state_since=clock.now())
