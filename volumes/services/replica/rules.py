"""Checks that several operations on replicas share."""

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
    """Return the existing replicas, with their backends. Replicas that are being rebuilt are
    omitted.
    """
    rows = volume.replicas.filter(LIVE, rebuilding=False)
    return list(rows.select_related("backend").order_by("pk"))


def require_addable(volume: Volume, present: list[Replica]) -> None:
    """Check that one more replica may be added to the replicas ``present``.

    :raises NotReplicated, ReplicaTerminating, InvalidReplicas, NoSourceReplica: see their classes.
    :raises NodesFailed: the volume is being expanded.
    """
    states = {r.replica_state for r in present}
    if volume.num_replicas == 1:
        raise NotReplicated.of(volume.uuid)
    if ReplicaState.TERMINATING in states:
        raise ReplicaTerminating(f"a replica of volume {volume.uuid!r} is being removed")
    if len(present) >= MOST_REPLICAS:
        raise InvalidReplicas(
            f"volume {volume.uuid!r} has {len(present)} replicas: the limit is {MOST_REPLICAS}"
        )
    if ReplicaState.AVAILABLE not in states and states != {ReplicaState.UNKNOWN}:
        raise NoSourceReplica(f"no replica of volume {volume.uuid!r} is Available")
    if volume.expanding_to_bytes is not None:
        raise NodesFailed(f"volume {volume.uuid!r} is being expanded: try again")


def require_unchanged(planned: Volume, locked: Volume) -> None:
    """Check that the volume has the size that the new replica was planned for.

    :raises NodesFailed: the volume was expanded meanwhile.
    """
    if planned.capacity_bytes != locked.capacity_bytes:
        raise NodesFailed(f"volume {locked.uuid!r} was just expanded: try again")


def awaits_copy(volume: Volume) -> bool:
    """Whether a new replica must be rebuilt by a copy, because no host uses the volume.

    The states of replicas do not matter, because a host may have written without a report.
    """
    return not volume.publications.exists()
