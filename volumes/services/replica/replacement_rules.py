"""Rules of the tasks that give a volume a new replica.

The ``outputs`` of such a task have the key of the OUTGOING replica, or None. The new replica has
the task's id in ``created_by_task``.
"""

from dataclasses import replace
from typing import Any

from provisioner.common.models import LifeState
from tasks.models import Task
from volumes.models import Protocol, Replica, ReplicaState, Volume
from volumes.placement.request import PlacementRequest
from volumes.selectors import LIVE
from volumes.services.errors import CannotMove, NodesFailed, NoSourceReplica, VolumeNotExists
from volumes.services.replica.placement import PlacementConstraints, replica_request
from volumes.services.replica.rules import replicas_beside, require_addable
from volumes.services.scheduling import ReplicaOrigin
from volumes.sizing import split_in_proportion

OUTGOING, CONSTRAINTS, AVOID = "leaving", "wish", "avoid"
NEVER_ATTACHED = "never_attached"
"""Keys in the ``outputs`` of tasks. Rows of tasks have these texts, so they do not change."""


def volume_of(task: Task) -> Volume:
    """Return the READY volume of the task.

    :raises VolumeNotExists: it is deleted, or being deleted.
    """
    volume = Volume.objects.filter(uuid=task.volume_id, state=LifeState.READY).first()
    if volume is None:
        raise VolumeNotExists.of(task.volume_id)
    return volume


def replica_created_by(task: Task) -> Replica | None:
    """Return the newest replica that the task created, with its backend and volume, or None.

    The host of a migration may have added several.
    """
    rows = Replica.objects.filter(LIVE, created_by_task=task.pk).select_related("backend", "volume")
    return rows.order_by("-pk").first()


def outgoing_replica(task: Task) -> Replica | None:
    """Return the replica that the task replaces, with its backend and volume. None: it was removed
    already, or the task replaces none.
    """
    rows = Replica.objects.filter(LIVE, pk=task.outputs.get(OUTGOING))
    return rows.select_related("backend", "volume").first()


def never_attached(new: Replica) -> bool:
    """Whether no host uses the volume, and no host has reported another replica of the volume.

    The caller holds the lock of the volume.
    """
    others = Replica.objects.filter(LIVE, volume=new.volume_id).exclude(pk=new.pk)
    return not (
        others.exclude(replica_state=ReplicaState.UNKNOWN).exists()
        or new.volume.publications.exists()
    )


def require_movable(volume: Volume, task: Task) -> None:
    """Check that the volume may get another replica, or may be moved.

    :raises ProvisionerError: as for :func:`replica_sync_submit`.
    """
    present = _present(volume, task)
    if task.outputs.get(OUTGOING) is not None:
        _require_free(volume)
    if volume.expanding_to_bytes is not None:
        raise NodesFailed(f"volume {volume.uuid!r} is being expanded: try again")
    if any(r.state == LifeState.CREATING for r in present):
        raise NodesFailed(f"a replica of volume {volume.uuid!r} is being added: try again")
    if task.outputs.get(OUTGOING) is None or volume.num_replicas > 1:
        require_addable(volume, present)


def _require_free(volume: Volume) -> None:
    """Check that nothing binds the volume to its node.

    :raises CannotMove: the volume is bound to its node.
    """
    if volume.protocol == Protocol.LOCAL:
        raise CannotMove(f"volume {volume.uuid!r} is Local: it can only be used on its own node")
    if volume.snapshot_id is not None:
        raise CannotMove(
            f"volume {volume.uuid!r} is a snapshot volume, and must stay on the node "
            "of its snapshot"
        )
    if volume.num_replicas > 1:
        return
    if volume.publications.exists():
        raise CannotMove(f"volume {volume.uuid!r} has one replica and is published: unpublish it")
    if volume.snapshots.exists():
        raise CannotMove(f"volume {volume.uuid!r} has snapshots, and must stay on their node")


def replacement_request(volume: Volume, task: Task) -> PlacementRequest:
    """Return the placement request for the new replica. It avoids nodes that failed for this task.

    :raises NoSourceReplica: the data must be copied, and no replica can be read.
    """
    constraints = task.outputs.get(CONSTRAINTS)
    told = {tag["name"]: tag["value"] for tag in task.params}
    request = replica_request(
        volume,
        _present(volume, task),
        outgoing=outgoing_replica(task),
        destination=told.get("destinationBackendId", ""),
        constraints=_constraints(constraints) if constraints else None,
        avoid=frozenset(task.outputs.get(AVOID, ())),
    )
    if volume.publications.exists():
        return request
    return replace(request, sub_volumes=_sub_volumes(volume, _source(volume, task)))


def _sub_volumes(volume: Volume, source: Replica) -> tuple[tuple[int, int], ...]:
    """The sizes of the new replica's sub-volumes, as (capacity, claimed) in bytes. (): placement
    chooses them.

    Nodes copy a volume that spans SSDs sub-volume by sub-volume, so each destination must have the
    size of its source.
    """
    sizes = list(source.sub_volumes.order_by("id").values_list("capacity_bytes", flat=True))
    claims = split_in_proportion(volume.claimed_bytes, sizes)
    return tuple(zip(sizes, claims, strict=True)) if len(sizes) > 1 else ()


def _constraints(stored: dict[str, Any]) -> PlacementConstraints:
    lists = {name: tuple(v) for name, v in stored.items() if isinstance(v, list | tuple)}
    return PlacementConstraints(**stored | lists)


def replacement_origin(volume: Volume, task: Task, request: PlacementRequest) -> ReplicaOrigin:
    """Return how the new replica of a locked volume is rebuilt: by a copy, or by the host that uses
    the volume.

    ``request``: the placement request that the replica was planned with.

    :raises ProvisionerError: as for :func:`replica_sync_submit`.
    """
    require_movable(volume, task)
    if volume.publications.exists():
        return ReplicaOrigin(created_by_task=task.pk)
    source = _source(volume, task)
    if _sub_volumes(volume, source) != request.sub_volumes:
        raise NodesFailed(f"another replica of volume {volume.uuid!r} is being copied: try again")
    return ReplicaOrigin(created_by_task=task.pk, copied_from=source)


def _source(volume: Volume, task: Task) -> Replica:
    """Return the replica to copy: an Available one, or an Unknown one if all of them are Unknown.

    A replica that stays is preferred to the outgoing one.

    :raises NoSourceReplica: there is none on a node that is Available.
    """
    present = _present(volume, task)
    states = {r.replica_state for r in present}
    good = ReplicaState.AVAILABLE if ReplicaState.AVAILABLE in states else ReplicaState.UNKNOWN
    sources = [
        r
        for r in present
        if r.replica_state == good
        and r.state == LifeState.READY
        and r.backend is not None
        and r.backend.is_available
    ]
    if not sources:
        raise NoSourceReplica(
            f"no replica of volume {volume.uuid!r} can be read: none is {good} on an Available node"
        )
    return min(sources, key=lambda r: (r.pk == task.outputs.get(OUTGOING), r.pk))


def _present(volume: Volume, task: Task) -> list[Replica]:
    return [r for r in replicas_beside(volume) if r.created_by_task != task.pk]
