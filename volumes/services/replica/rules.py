"""What the operations on replicas refuse alike."""

from volumes.models import Replica, ReplicaState, Volume
from volumes.selectors import LIVE
from volumes.services.errors import (
    InvalidReplicas,
    NodesFailed,
    NoSourceReplica,
    NotReplicated,
    ReplicaTerminating,
)

MOST_REPLICAS = 4


def replicas_beside(volume: Volume) -> list[Replica]:
    """The replicas that a new one joins, with their backends: not one that is being filled."""
    rows = volume.replicas.filter(LIVE, rebuilding=False)
    return list(rows.select_related("backend").order_by("pk"))


def require_addable(volume: Volume, present: list[Replica]) -> None:
    """One more replica may join those ``present``.

    :raises NotReplicated, ReplicaTerminating, InvalidReplicas, NoSourceReplica: as they say.
    :raises NodesFailed: the volume is growing.
    """
    states = {r.replica_state for r in present}
    if volume.num_replicas == 1:
        raise NotReplicated.of(volume.uuid)
    if ReplicaState.TERMINATING in states:
        raise ReplicaTerminating(f"a replica of volume {volume.uuid!r} is being removed")
    if len(present) >= MOST_REPLICAS:
        raise InvalidReplicas(
            f"volume {volume.uuid!r} has {len(present)} replicas: {MOST_REPLICAS} are the most"
        )
    if ReplicaState.AVAILABLE not in states and states != {ReplicaState.UNKNOWN}:
        raise NoSourceReplica(f"no replica of volume {volume.uuid!r} is Available")
    if volume.expanding_to_bytes is not None:
        raise NodesFailed(f"volume {volume.uuid!r} is growing: try again")


def require_unchanged(planned: Volume, locked: Volume) -> None:
    """:raises NodesFailed: the volume grew since the new replica was planned."""
    if planned.capacity_bytes != locked.capacity_bytes:
        raise NodesFailed(f"volume {locked.uuid!r} has just grown: try again")


def awaits_copy(volume: Volume) -> bool:
    """No host uses it now: nobody but the nodes can fill a new replica. That no host reported
    anything does not mean that none wrote.
    """
    return not volume.publications.exists()
