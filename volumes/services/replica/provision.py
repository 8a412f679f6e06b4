"""Replicas that are claimed, on their way to their nodes."""

from collections.abc import Iterable
from dataclasses import dataclass

from inventory.nodes.wire import Source
from provisioner.common.models import LifeState
from volumes.models import Replica, Volume
from volumes.selectors import replicas_with_nodes
from volumes.services.node.missing import check_after_not_found
from volumes.services.node_calls import failures_text, lack_space, replicas_ensure


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
    check_after_not_found(_sources(replicas.values()), outcomes, until=until)
    made = [key for key, outcome in outcomes.items() if isinstance(outcome, bool)]
    moved = rows.filter(pk__in=made).update(state=LifeState.READY, deadline_at=None)
    if failed := tuple(r for key, r in replicas.items() if key not in made):
        return FailedReplicas(failed, failures_text(replicas, outcomes), lack_space(outcomes))
    if moved < len(made):  # others were faster, and may have put new ones in place of some
        return replicas_make(volume, until=until)
    return None


def _sources(replicas: Iterable[Replica]) -> dict[int, Replica]:
    """Of those that are made from something: the replica that holds it, by the new one's key."""
    found = {}
    for replica in replicas:
        source = Source.model_validate(replica.source) if replica.source else None
        if source is None:
            continue
        holders = Replica.objects.select_related("backend")
        if source.kind.is_of_snapshot:
            holders = holders.filter(snapshots=source.generation)
        else:
            holders = holders.filter(pk=source.generation)
        if holder := holders.first():
            found[replica.pk] = holder
    return found
