"""Remove a replica in two phases, and store the states that hosts report (reference, "Delete
Replica" to "Set Replica State").
"""

from django.db import transaction
from django.db.models import Q

from inventory.services.node.call_time import call_deadline
from provisioner.common import clock
from provisioner.common.models import LifeState
from provisioner.common.results import ProvisionerError, ResultCode
from tasks.services import tasks_abort, tasks_touch
from volumes.models import Replica, ReplicaState, Volume
from volumes.selectors import LIVE, replicas_with_nodes, volumes_visible
from volumes.services.deadlines import unfinished_deadline
from volumes.services.errors import (
    NotReplicated,
    ReplicaNotExists,
    ReplicaTerminating,
    VolumeNotExists,
)
from volumes.services.node.contents import is_lost
from volumes.services.node.missing import replicas_verify
from volumes.services.publication.exports import mark_replicas_deleting
from volumes.services.replica.state import replica_state_set
from volumes.services.volume.delete import delete_replicas_on_nodes


class AllReplicasDown(ProvisionerError):
    """No other replica of the volume is Available."""

    code = ResultCode.AllReplicasDown


class NoTerminating(ProvisionerError):
    """The replica is not marked for removal."""

    code = ResultCode.NoTerminating


def replica_mark(*, volume_uuid: str, replica_uuid: str, tenant_id: str | None) -> None:
    """Mark a replica for removal. The host of the volume confirms when it no longer uses the
    replica.

    If the volume is published to no host, the replica is removed at once.

    :raises VolumeNotExists, ReplicaNotExists, NotReplicated: see their classes.
    :raises ReplicaTerminating: a replica of the volume is already marked.
    :raises AllReplicasDown: no other replica is Available.
    """
    with transaction.atomic(durable=True):
        volume, replica = _locked(volume_uuid, replica_uuid, tenant_id)
        _require_markable(volume, replica)
        if replica.rebuilding:
            tasks_abort(volume_id=volume.uuid, reason=f"its replica {replica_uuid} was removed")
        tasks_touch(volume_id=volume.uuid)
        replica_state_set(Replica.objects.filter(pk=replica.pk), ReplicaState.TERMINATING)
        offline = not volume.publications.exists()
        if offline:
            _mark_deleting(replica)
    if offline:
        delete_replicas_on_nodes([replica], until=call_deadline())


def replica_confirm(*, volume_uuid: str, replica_uuid: str, tenant_id: str | None) -> None:
    """Remove a marked replica. If its node is down, the collector removes it when the node is back.

    :raises VolumeNotExists, ReplicaNotExists: see their classes.
    :raises NoTerminating: the replica is not marked.
    """
    with transaction.atomic(durable=True):
        volume, replica = _locked(volume_uuid, replica_uuid, tenant_id)
        if replica.replica_state != ReplicaState.TERMINATING:
            raise NoTerminating(
                f"replica {replica_uuid!r} is {replica.replica_state}: mark it for removal first"
            )
        tasks_touch(volume_id=volume.uuid)
        _mark_deleting(replica)
    delete_replicas_on_nodes([replica], until=call_deadline())


def replica_report(
    *, volume_uuid: str, replica_uuid: str, state: ReplicaState, tenant_id: str | None
) -> None:
    """Store the state that a host reports of a replica: Available, Missing or Synchronizing.

    The report about a Missing replica is refused if its node answers that it does not hold the
    replica.

    :raises VolumeNotExists, ReplicaNotExists, NotReplicated: see their classes.
    :raises ReplicaTerminating: the replica is marked for removal. Only a confirmation ends that
        state.
    """
    is_asked = False
    while True:
        if state != ReplicaState.MISSING:
            is_asked = _require_held(volume_uuid, replica_uuid, tenant_id)
        with transaction.atomic(durable=True):
            volume, replica = _locked(volume_uuid, replica_uuid, tenant_id)
            is_missing = replica.replica_state == ReplicaState.MISSING != state
            if is_missing and replica.state == LifeState.READY and not is_asked:
                continue  # a node check has just found it lost: ask the node
            _store_report(volume, replica, state)
            return


def _store_report(volume: Volume, replica: Replica, state: ReplicaState) -> None:
    if volume.num_replicas == 1:
        raise NotReplicated.of(volume.uuid)
    if replica.replica_state == ReplicaState.TERMINATING:
        raise ReplicaTerminating(f"replica {replica.uuid!r} is marked for removal")
    if replica.rebuilding:
        raise ReplicaNotExists(f"replica {replica.uuid!r} is being rebuilt: no host can use it yet")
    if replica.backend_id is None:
        raise ReplicaNotExists(f"the backend of replica {replica.uuid!r} was removed by force")
    if replica.replica_state != state:
        rows = Replica.objects.filter(pk=replica.pk)
        replica_state_set(rows, state, reason="a host reports it")
    tasks_touch(volume_id=volume.uuid)


def _require_held(volume_uuid: str, replica_uuid: str, tenant_id: str | None) -> bool:
    """If the replica is Missing, check that its node holds it. A node that does not answer counts
    as holding it. Returns whether the replica is Missing.

    :raises ReplicaNotExists: the node does not hold the replica.
    """
    rows = Replica.objects.filter(
        volume__in=volumes_visible(tenant_id).filter(uuid=volume_uuid),
        uuid=replica_uuid,
        state=LifeState.READY,
        replica_state=ReplicaState.MISSING,
    )
    missing = list(replicas_with_nodes(rows))
    asked = [replica for replica in missing if replica.backend and replica.backend.is_available]
    for outcome in replicas_verify(asked, until=call_deadline()).values():
        if is_lost(outcome):
            raise ReplicaNotExists(f"the node of replica {replica_uuid!r} lost it: {outcome}")
    return bool(missing)


def marked_replicas_remove(volume: Volume) -> None:
    """Remove marked replicas of a volume that no host uses, because there is no host that could
    confirm.

    The last good replica stays. Runs inside the transaction that unpublished the volume and holds
    its lock.
    """
    if volume.publications.exists():
        return
    for marked in volume.replicas.filter(LIVE, replica_state=ReplicaState.TERMINATING):
        others = volume.replicas.filter(LIVE, rebuilding=False).exclude(pk=marked.pk)
        states = set(others.values_list("replica_state", flat=True))
        if ReplicaState.AVAILABLE in states or states == {ReplicaState.UNKNOWN}:
            rows = Replica.objects.filter(pk=marked.pk)
            mark_replicas_deleting(rows, deadline_at=clock.now())


def _locked(volume_uuid: str, replica_uuid: str, tenant_id: str | None) -> tuple[Volume, Replica]:
    volume = volumes_visible(tenant_id).select_for_update().filter(uuid=volume_uuid).first()
    if volume is None:
        raise VolumeNotExists.of(volume_uuid)
    replica = volume.replicas.filter(LIVE, uuid=replica_uuid).first()
    if replica is None:
        raise ReplicaNotExists(f"volume {volume_uuid!r} has no replica {replica_uuid!r}")
    return volume, replica


def _require_markable(volume: Volume, replica: Replica) -> None:
    if volume.num_replicas == 1:
        raise NotReplicated.of(volume.uuid)
    others = volume.replicas.filter(LIVE).exclude(Q(rebuilding=True) & ~Q(pk=replica.pk))
    states = dict(others.values_list("pk", "replica_state"))
    if ReplicaState.TERMINATING in states.values():
        raise ReplicaTerminating(
            f"a replica of volume {volume.uuid!r} is already marked for removal"
        )
    never_attached = set(states.values()) == {ReplicaState.UNKNOWN} and len(states) > 1
    del states[replica.pk]
    if not never_attached and ReplicaState.AVAILABLE not in states.values():
        raise AllReplicasDown(f"no other replica of volume {volume.uuid!r} is Available")


def _mark_deleting(replica: Replica) -> None:
    rows = Replica.objects.filter(pk=replica.pk)
    mark_replicas_deleting(rows, deadline_at=unfinished_deadline())
