"""Create a task that gives a volume a new replica, either an additional one or one that replaces
another.

docs/architecture.md, section 7, describes what happens if the volume changes meanwhile.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django.db import transaction

from provisioner.common.models import LifeState
from tasks.models import Task, TaskType
from tasks.services import configuration, task_create
from volumes.models import Replica, Volume
from volumes.selectors import volumes_visible
from volumes.services.errors import ReplicaNotExists, VolumeNotExists
from volumes.services.replica.placement import PlacementConstraints, require_replica_plan
from volumes.services.replica.replacement_rules import (
    CONSTRAINTS,
    OUTGOING,
    replacement_origin,
    replacement_request,
    require_movable,
)
from volumes.services.replica.rules import replicas_beside, require_unchanged
from volumes.services.scheduling import (
    claim_attempts,
    replicas_claim,
    require_plan,
    volume_place,
)


def replica_sync_submit(
    *,
    volume_uuid: str,
    outgoing_uuid: str | None,
    destination: str = "",
    outputs: Mapping[str, Any] | None = None,
) -> Task:
    """Create a ReplicaSync task that replaces a replica by one on another node, or adds one.

    The new replica is planned and claimed at once. ``outgoing_uuid``: the replica to replace; None
    adds one. ``destination``: a backend id; "" lets placement choose. ``outputs`` are stored with
    the task's own.

    :raises VolumeNotExists, ReplicaNotExists, NotReplicated: see their classes.
    :raises CannotMove: the volume cannot be moved, at all or now; the text says why.
    :raises ReplicaTerminating: a replica is being removed.
    :raises InvalidReplicas: the volume has four replicas.
    :raises NoSourceReplica: there is no replica to rebuild the new one from.
    :raises NodesFailed: the volume is being expanded, or a replica is being added.
    :raises VolumeHasTask: the volume has a task that has not ended.
    :raises NoCandidate: no node fits; the text says why.
    :raises TenantCapacityExceeded: the budget has no room for one more replica.
    """
    volume = volumes_visible(None).filter(uuid=volume_uuid).first()
    if volume is None:
        raise VolumeNotExists.of(volume_uuid)
    outgoing = None
    if outgoing_uuid is not None:
        outgoing = next((r for r in replicas_beside(volume) if r.uuid == outgoing_uuid), None)
        if outgoing is None:
            raise ReplicaNotExists(f"volume {volume_uuid!r} has no replica {outgoing_uuid!r}")
    return replica_sync_begin(volume, outgoing=outgoing, destination=destination, carried=outputs)


def replica_sync_begin(
    volume: Volume,
    *,
    outgoing: Replica | None = None,
    destination: str = "",
    constraints: PlacementConstraints | None = None,
    carried: Mapping[str, Any] | None = None,
) -> Task:
    """Create the task like :func:`replica_sync_submit`, for rows that the caller has read.

    ``constraints``: where the replica may be placed. ``carried``: outputs to store with the task.
    """
    tags = {"volId": volume.uuid, "volumeAlias": volume.alias}
    if outgoing is not None:
        tags["replicaId"] = outgoing.uuid
    if destination:
        tags["destinationBackendId"] = destination
    own = {
        OUTGOING: outgoing.pk if outgoing else None,
        CONSTRAINTS: asdict(constraints) if constraints else None,
    }
    outputs = {**(carried or {}), **own}
    draft = Task(params=configuration(tags), outputs=outputs)
    require_movable(volume, draft)
    request = replacement_request(volume, draft)
    required = require_plan if outgoing else require_replica_plan
    task = draft
    for attempt in claim_attempts():
        plan = required(volume_place(volume, request))
        with attempt, transaction.atomic(durable=True):
            locked = Volume.objects.select_for_update().filter(pk=volume.pk).first()
            if locked is None or locked.state != LifeState.READY:
                raise VolumeNotExists.of(volume.uuid)
            require_unchanged(volume, locked)
            task = task_create(
                type=TaskType.REPLICA_SYNC,
                volume_id=volume.uuid,
                tenant_id=volume.tenant_id,
                params=tags,
                outputs=outputs,
                stoppable=True,
            )
            replicas_claim(volume, plan, replacement_origin(locked, task, request))
    return task
