"""Move a replica of a published volume to another node (reference, "Migrate Volume").

If the host has an agent, the agent does the work: it takes the task, adds a replica, rebuilds it,
and removes the outgoing replica. Otherwise a worker does the same. All preconditions are checked
before the task is created.
"""

import datetime as dt
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from django.db import transaction
from django.db.models import Max

from provisioner.common.models import LifeState
from provisioner.common.results import ProvisionerError, ResultCode
from tasks.models import Task, TaskType
from tasks.selectors import task_active
from tasks.services import VolumeHasTask, task_create
from volumes.models import Publication, Replica, ReplicaState, Volume
from volumes.selectors import LIVE, volumes_visible
from volumes.services.errors import NotReplicated, ReplicaTerminating, VolumeNotPublished
from volumes.services.replica.placement import replica_request
from volumes.services.replica.replacement_rules import OUTGOING
from volumes.services.replica.rules import MOST_REPLICAS, replicas_beside
from volumes.services.scheduling import volume_place

HANDLER_TAG = "migrationHandler"


class Handler(StrEnum):
    """Who does the work of a migration."""

    AGENT = "AGENT"
    PROVISIONER = "PROVISIONER"


class VolumeNoFound(ProvisionerError):
    """There is no such volume. The reference spells the code this way for this operation only."""

    code = ResultCode.VolumeNoFound


class ReplicaNotFound(ProvisionerError):
    """The volume has no such replica."""

    code = ResultCode.ReplicaNotFound


class NotEnoughReplicas(ProvisionerError):
    """Fewer replicas are Available than the volume was created with."""

    code = ResultCode.NotEnoughReplicas


class PublishedToSeveralHosts(ProvisionerError):
    """The volume is published to several hosts."""

    code = ResultCode.VolumePublishedToMultipleHosts


class NoBackendToMigrateReplica(ProvisionerError):
    """No node fits the new replica."""

    code = ResultCode.NoBackendToMigrateReplica


def volume_migrate(
    *,
    volume_uuid: str,
    tenant_id: str | None,
    replica_uuid: str = "",
    destination: str = "",
    handler: Handler | None = None,
    outputs: Mapping[str, Any] | None = None,
) -> Task:
    """Create a task that moves a replica of the volume to another node.

    Without ``replica_uuid`` it moves a replica on a cordoned node, or else the oldest one. Without
    ``destination`` (a backend id) placement chooses the node. Without ``handler`` the host's agent
    does the work if the host has one. ``outputs`` are stored with the task's own.

    :raises VolumeNoFound, ReplicaNotFound, NotReplicated, ReplicaTerminating: see their classes.
    :raises VolumeNotPublished, PublishedToSeveralHosts: it is not published to exactly one host.
    :raises NotEnoughReplicas: fewer replicas are Available than the volume was created with.
    :raises NoBackendToMigrateReplica: no node fits; the text says why.
    :raises VolumeHasTask: the volume has a task that has not ended.
    """
    with transaction.atomic(durable=True):
        volume = volumes_visible(tenant_id).select_for_update().filter(uuid=volume_uuid).first()
        if volume is None:
            raise VolumeNoFound(f"there is no volume {volume_uuid!r}")
        replicas = replicas_beside(volume)
        replica = _named_or_first_to_go(volume, replicas, replica_uuid)
        publication = _only_publication(volume)
        _replicas_ready(volume, replicas)
        if task_active(volume_id=volume.uuid) is not None:
            raise VolumeHasTask.of(volume.uuid)
        _require_destination(volume, replica, replicas, destination)
        return _task(
            volume,
            replica,
            publication,
            destination=destination,
            handler=handler,
            outputs=outputs or {},
        )


def _named_or_first_to_go(volume: Volume, replicas: list[Replica], uuid: str) -> Replica:
    named = [r for r in replicas if uuid in {"", r.uuid}]
    if not named:
        raise ReplicaNotFound(f"volume {volume.uuid!r} has no replica {uuid!r}")
    return min(named, key=lambda r: (r.backend is None or r.backend.in_use, r.pk))


def is_hosts(task: Task) -> bool:
    """Whether the agent of the host carries out the task. It does, unless a tag of the task names
    the provisioner.
    """
    return {"name": HANDLER_TAG, "value": Handler.PROVISIONER} not in task.params


def migration_last_activity_at(task: Task) -> dt.datetime:
    """Return when the host last reported the task or a replica of the volume."""
    replicas = Replica.objects.filter(LIVE, volume__uuid=task.volume_id)
    reported_at = replicas.aggregate(at=Max("replica_state_since"))["at"]
    return max(at for at in (task.created_at, task.last_activity_at, reported_at) if at is not None)


def _task(
    volume: Volume,
    outgoing: Replica,
    publication: Publication,
    *,
    destination: str,
    handler: Handler | None,
    outputs: Mapping[str, Any],
) -> Task:
    """Create the task. A task for a worker is RUNNING from the start, because hosts take IDLE
    tasks.
    """
    tags = {"volId": volume.uuid, "replicaId": outgoing.uuid, "volumeAlias": volume.alias}
    if destination:
        tags["destinationBackendId"] = destination
    by_worker = (
        not publication.host.has_agent if handler is None else handler is Handler.PROVISIONER
    )
    if by_worker:
        tags[HANDLER_TAG] = Handler.PROVISIONER.value
    return task_create(
        type=TaskType.REMOTE_MIGRATION,
        host_id=publication.host_id,
        volume_id=volume.uuid,
        tenant_id=volume.tenant_id,
        params=tags,
        outputs={**outputs, OUTGOING: outgoing.pk},
        stoppable=True,
        is_begun=by_worker,
    )


def _only_publication(volume: Volume) -> Publication:
    if volume.num_replicas == 1:
        raise NotReplicated.of(volume.uuid)
    rows = volume.publications.filter(state=LifeState.READY).select_related("host")
    publications = list(rows[:2])
    if not publications:
        raise VolumeNotPublished(f"volume {volume.uuid!r} is not published to any host")
    if len(publications) > 1:
        raise PublishedToSeveralHosts(f"volume {volume.uuid!r} is published to several hosts")
    return publications[0]


def _replicas_ready(volume: Volume, replicas: list[Replica]) -> None:
    states = [r.replica_state for r in replicas]
    if ReplicaState.TERMINATING in states:
        raise ReplicaTerminating(f"a replica of volume {volume.uuid!r} is Terminating")
    available = states.count(ReplicaState.AVAILABLE)
    if available < volume.num_replicas:
        raise NotEnoughReplicas(
            f"only {available} of the replicas of volume {volume.uuid!r} are Available, but it was "
            f"created with {volume.num_replicas}"
        )


def _require_destination(
    volume: Volume, outgoing: Replica, replicas: list[Replica], destination: str
) -> None:
    if len(replicas) >= MOST_REPLICAS:
        raise NoBackendToMigrateReplica(
            f"volume {volume.uuid!r} has {len(replicas)} replicas: the limit is {MOST_REPLICAS}, "
            "and a migration adds one before it removes the other"
        )
    request = replica_request(volume, replicas, outgoing=outgoing, destination=destination)
    outcome = volume_place(volume, request)
    if not outcome.complete:
        raise NoBackendToMigrateReplica(outcome.explain())
