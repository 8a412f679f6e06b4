"""Create claimed replicas on their nodes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from operator import or_

from django.db.models import Q, QuerySet

from inventory.nodes.wire import Source
from provisioner.common.compiled import Compiled, whole
from provisioner.common.models import LifeState
from volumes.models import Replica, Volume
from volumes.selectors import backend_with_addresses, replicas_with_nodes
from volumes.services.node.missing import check_after_not_found
from volumes.services.node_calls import failures_text, lack_space, replicas_ensure


@dataclass(frozen=True)
class FailedReplicas:
    """Replicas that their nodes did not create or did not confirm.

    ``text``: how each failed. ``lack_space``: whether a node had no room.
    """

    replicas: tuple[Replica, ...]
    text: str
    lack_space: bool


def replicas_ready(keys: Sequence[int]) -> int:
    """Set these replicas READY if they are CREATING. Returns how many were."""
    names = [f"replica_{number}" for number in range(len(keys))]
    return _readying(*names).update(**dict(zip(names, keys, strict=True))) if keys else 0


def replicas_make(
    volume: Volume,
    *,
    until: float,
    claimed: Sequence[Replica] = (),
    finish: Callable[[Sequence[int]], int] = replicas_ready,
) -> FailedReplicas | None:
    """Create the volume's CREATING replicas on their nodes. Confirmed replicas become READY.

    ``claimed``: the replicas, if this caller has just claimed all of them. ``finish`` gets the keys
    of the confirmed replicas, sets them READY, and returns how many were CREATING.

    Returns the replicas that failed, or None if all are READY. Another attempt of the same request
    may have created some of them.
    """
    for replica in claimed:
        replica.backend = backend_with_addresses(str(replica.backend_id))
    replicas = {r.pk: r for r in claimed or _creating(volume)}
    outcomes = replicas_ensure(volume, replicas.values(), until=until)
    check_after_not_found(_sources(replicas.values()), outcomes, until=until)
    made = [key for key, outcome in outcomes.items() if isinstance(outcome, bool)]
    moved = finish(made)
    if failed := tuple(r for key, r in replicas.items() if key not in made):
        return FailedReplicas(failed, failures_text(replicas, outcomes), lack_space(outcomes))
    if moved < len(made):  # another attempt was faster, and may have replaced some of them
        return replicas_make(volume, until=until, finish=finish)
    return None


def _creating(volume: Volume) -> QuerySet[Replica]:
    return replicas_with_nodes(Replica.objects.filter(volume=volume, state=LifeState.CREATING))


@cache
def _readying(*names: str) -> Compiled:
    chosen = reduce(or_, (Q(pk=whole(name)) for name in names))
    return Compiled(
        lambda: Replica.objects.filter(chosen, state=LifeState.CREATING),
        state=LifeState.READY,
        deadline_at=None,
    )


def _sources(replicas: Iterable[Replica]) -> dict[int, Replica]:
    """Return the source replica of each new replica, by the key of the new one."""
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
