"""Replicas that are claimed, on their way to their nodes."""

from dataclasses import dataclass

from provisioner.common.models import LifeState
from volumes.models import Replica, Volume
from volumes.selectors import replicas_with_nodes
from volumes.services.node_work import failures_text, lack_space, replicas_ensure


@dataclass(frozen=True)
class FailedReplicas:
    """Replicas whose nodes did not make them, or did not say so; ``text`` says how each failed.
    ``lack_space``: a node had no room.
    """

    replicas: tuple[Replica, ...]
    text: str
    lack_space: bool


def replicas_make(volume: Volume, *, until: float) -> FailedReplicas | None:
    """Put the replicas that are not made yet on their nodes; those that failed, or None: all are
    made, some perhaps by another try of the same request.
    """
    rows = Replica.objects.filter(volume=volume, state=LifeState.CREATING)
    replicas = {r.pk: r for r in replicas_with_nodes(rows)}
    outcomes = replicas_ensure(volume, replicas.values(), until=until)
    made = [key for key, outcome in outcomes.items() if isinstance(outcome, bool)]
    moved = rows.filter(pk__in=made).update(state=LifeState.READY, deadline_at=None)
    if failed := tuple(r for key, r in replicas.items() if key not in made):
        return FailedReplicas(failed, failures_text(replicas, outcomes), lack_space(outcomes))
    if moved < len(made):  # others were faster, and may have put new ones in place of some
        return replicas_make(volume, until=until)
    return None
