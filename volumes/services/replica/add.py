"""Add a replica to a volume that has several (reference, "Add Replica")."""

import time
from collections.abc import Sequence
from functools import partial

from django.db import transaction

from inventory.services.node.call_time import call_deadline
from provisioner.common import clock
from provisioner.common.models import LifeState
from provisioner.common.queue import enqueue_on_commit
from tasks.models import Task, TaskType
from tasks.selectors import task_active, task_is_hosts
from tasks.services import VolumeHasTask, tasks_touch
from volumes.models import Export, Replica, Volume
from volumes.selectors import volumes_visible
from volumes.services.errors import NodesFailed, VolumeNotExists
from volumes.services.publication.exports import (
    exports_make,
    mark_replicas_deleting,
    record_desired_exports_for_all_hosts,
)
from volumes.services.publication.namespace_ids import TargetFull
from volumes.services.replica.placement import (
    PlacementConstraints,
    replica_request,
    require_replica_plan,
)
from volumes.services.replica.provision import replicas_make, replicas_ready
from volumes.services.replica.replace import replica_sync_begin
from volumes.services.replica.rules import (
    awaits_copy,
    replicas_beside,
    require_addable,
    require_unchanged,
)
from volumes.services.scheduling import (
    ReplicaOrigin,
    claim_attempts,
    replicas_claim,
    volume_place,
)


def replica_add(
    *, volume_uuid: str, tenant_id: str | None, constraints: PlacementConstraints
) -> None:
    """Add one replica to a volume that has several.

    If the volume is published, the new replica is exported at once, and its host rebuilds it.
    Otherwise the replica is Synchronizing until a task has copied the data. If a node fails,
    another node is chosen while time remains.

    :raises VolumeNotExists, NotReplicated, InvalidReplicas, ReplicaTerminating: see their classes.
    :raises NoSourceReplica: no replica is Available, and not all are Unknown.
    :raises NoCandidate: no node fits. The code names the last filter that excluded nodes.
    :raises TenantCapacityExceeded: the budget has no room for it.
    :raises NodesFailed: the nodes did not answer in time, or the volume has an active task.
    """
    until = call_deadline()
    volume = volumes_visible(tenant_id).filter(uuid=volume_uuid).first()
    if volume is None:
        raise VolumeNotExists.of(volume_uuid)
    _task_of_host(volume)
    if awaits_copy(volume):
        _begin_copy(volume, constraints)
        return
    _make(volume, constraints, until)
    wanted = Export.objects.filter(publication__volume=volume, state=LifeState.CREATING)
    exports_make(wanted, until=until)


def _begin_copy(volume: Volume, constraints: PlacementConstraints) -> None:
    try:
        replica_sync_begin(volume, constraints=constraints)
    except VolumeHasTask as error:
        raise NodesFailed(f"{error.description}: try again when it has ended") from error


def _task_of_host(volume: Volume) -> Task | None:
    """Return the active task of the volume that its host carries out, or None.

    :raises NodesFailed: the volume has a task that a worker carries out.
    """
    task = task_active(volume_id=volume.uuid)
    if task is not None and not task_is_hosts(task):
        raise NodesFailed(f"volume {volume.uuid!r} has the task {task.pk}: try again after it")
    return task


def _make(volume: Volume, constraints: PlacementConstraints, until: float) -> None:
    avoid: frozenset[str] = frozenset()
    while True:
        task = _task_of_host(volume)
        told = {tag["name"]: tag["value"] for tag in task.params} if task else {}
        present = replicas_beside(volume)
        require_addable(volume, present)
        request = replica_request(
            volume,
            present,
            outgoing=next((r for r in present if r.uuid == told.get("replicaId")), None),
            destination=told.get("destinationBackendId", ""),
            constraints=constraints,
            avoid=avoid,
        )
        for attempt in claim_attempts():
            plan = require_replica_plan(volume_place(volume, request))
            with attempt, transaction.atomic(durable=True):
                claimed = replicas_claim(volume, plan, _begin(volume))
        finish = partial(_finish, volume)
        try:
            failed = replicas_make(volume, until=until, claimed=claimed, finish=finish)
        except TargetFull as error:
            _mark_deleting(claimed)
            raise NodesFailed(error.description) from error
        if failed is None:
            return
        avoid |= {str(r.backend_id) for r in failed.replicas}
        _mark_deleting(failed.replicas)
        if time.monotonic() > until:
            raise NodesFailed(f"the nodes did not answer in time; {failed.text}")


def _begin(volume: Volume) -> ReplicaOrigin:
    """Check the locked volume again, and return the origin of the new replica.

    A replica that a host adds during its migration gets the id of the migration, so that it is
    removed if the migration fails.
    """
    locked = Volume.objects.select_for_update().filter(pk=volume.pk, state=LifeState.READY).first()
    if locked is None:
        raise VolumeNotExists.of(volume.uuid)
    require_addable(locked, replicas_beside(locked))
    require_unchanged(volume, locked)
    if awaits_copy(locked):
        raise NodesFailed(f"volume {volume.uuid!r} was just unpublished: try again")
    task = _task_of_host(locked)
    tasks_touch(volume_id=volume.uuid)
    is_migration = task is not None and task.type == TaskType.REMOTE_MIGRATION
    return ReplicaOrigin(created_by_task=task.pk if task and is_migration else "")


def _mark_deleting(replicas: Sequence[Replica]) -> None:
    rows = Replica.objects.filter(pk__in=[r.pk for r in replicas], state=LifeState.CREATING)
    with transaction.atomic(durable=True):
        mark_replicas_deleting(rows, deadline_at=clock.now())
    enqueue_on_commit("volumes.jobs.collect")


def _finish(volume: Volume, keys: Sequence[int]) -> int:
    """Set the new replica READY, and record in the same transaction that it must be exported to the
    hosts of the volume. Otherwise nobody would export it if the process died in between.
    """
    with transaction.atomic(durable=True):
        list(Volume.objects.select_for_update().filter(pk=volume.pk))
        moved = replicas_ready(keys)
        if keys and not moved:
            raise NodesFailed(f"the new replica of volume {volume.uuid!r} was removed meanwhile")
        record_desired_exports_for_all_hosts(volume)
    return moved
