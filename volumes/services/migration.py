"""Move a replica of a volume that is in use to another node (reference, "Migrate Volume").

The host does the work: it takes the task, adds a replica, brings it up to date, and has the old one
removed. Everything is checked here first.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.db import transaction

from provisioner.common.models import LifeState
from provisioner.common.results import ProvisionerError, ResultCode
from tasks.models import Task, TaskType
from tasks.services import task_create
from volumes.models import Publication, Replica, ReplicaState, Volume
from volumes.selectors import LIVE, volumes_visible
from volumes.services.placing import placement_request, volume_place
from volumes.services.publications import VolumeNotPublished
from volumes.services.replica_rules import NotReplicated, ReplicaTerminating


class VolumeNoFound(ProvisionerError):
    """Spelled as the reference spells it, for this operation only."""

    code = ResultCode.VolumeNoFound


class ReplicaNotFound(ProvisionerError):
    code = ResultCode.ReplicaNotFound


class NotEnoughReplicas(ProvisionerError):
    code = ResultCode.NotEnoughReplicas


class PublishedToSeveralHosts(ProvisionerError):
    code = ResultCode.VolumePublishedToMultipleHosts


class NoBackendToMigrateReplica(ProvisionerError):
    code = ResultCode.NoBackendToMigrateReplica


def volume_migrate(
    *,
    volume_uuid: str,
    replica_uuid: str,
    tenant_id: str | None,
    destination: str = "",
    outputs: Mapping[str, Any] | None = None,
) -> Task:
    """Ask the volume's host to move a replica; ``destination`` names the node, else placement does.
    ``outputs``: what the task carries along for its maker.

    :raises VolumeNoFound, ReplicaNotFound, NotReplicated, ReplicaTerminating: as they say.
    :raises VolumeNotPublished, PublishedToSeveralHosts: exactly one host must use the volume.
    :raises NotEnoughReplicas: not as many replicas are Available as it was created with.
    :raises NoBackendToMigrateReplica: no node will do; the text says why.
    :raises VolumeHasTask: it is being migrated already.
    """
    with transaction.atomic(durable=True):
        volume = volumes_visible(tenant_id).select_for_update().filter(uuid=volume_uuid).first()
        if volume is None:
            raise VolumeNoFound(f"there is no volume {volume_uuid!r}")
        replicas = list(volume.replicas.filter(LIVE).select_related("backend"))
        replica = next((r for r in replicas if r.uuid == replica_uuid), None)
        if replica is None:
            raise ReplicaNotFound(f"volume {volume_uuid!r} has no replica {replica_uuid!r}")
        publication = _only_publication(volume)
        _replicas_ready(volume, replicas)
        _destination_required(volume, replica, replicas, destination)
        tags = {"volId": volume.uuid, "replicaId": replica.uuid, "volumeAlias": volume.alias}
        return task_create(
            type=TaskType.REMOTE_MIGRATION,
            host_id=publication.host_id,
            volume_id=volume.uuid,
            tenant_id=volume.tenant_id,
            params=tags | ({"destinationBackendId": destination} if destination else {}),
            outputs=outputs,
            stoppable=True,
        )


def _only_publication(volume: Volume) -> Publication:
    if volume.num_replicas == 1:
        raise NotReplicated.of(volume.uuid)
    publications = list(volume.publications.filter(state=LifeState.READY)[:2])
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
            f"{available} replicas of volume {volume.uuid!r} are Available, "
            f"it was created with {volume.num_replicas}"
        )


def _destination_required(
    volume: Volume, leaving: Replica, replicas: list[Replica], destination: str
) -> None:
    racks = {r.backend.rack_key for r in replicas if r.backend and r.pk != leaving.pk}
    request = replace(
        placement_request(volume, replicas=1, beside=tuple(replicas)),
        taken_racks=frozenset(racks),
        destination=destination,
    )
    outcome = volume_place(volume, request)
    if not outcome.complete:
        raise NoBackendToMigrateReplica(outcome.explain())
