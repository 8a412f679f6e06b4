"""Changes of the state of replicas, with the time and the events."""

from collections.abc import Collection
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from events.kinds import Kind
from events.recording import record, recorded_together
from provisioner.common import clock
from provisioner.common.models import LifeState
from volumes.models import Replica, ReplicaState, Volume


def replica_state_set(rows: QuerySet[Replica], state: ReplicaState, *, reason: str = "") -> int:
    """Set the state of ``rows`` and its time, and record events. Returns the number of rows."""
    with transaction.atomic():
        locked = rows.select_related("volume").select_for_update(of=("self",)).order_by("pk")
        found = {replica.pk: replica for replica in locked}
        changed = Replica.objects.filter(pk__in=found)
        changed.update(replica_state=state, replica_state_since=clock.now())
        new = [replica for replica in found.values() if replica.replica_state != state]
        if state == ReplicaState.MISSING:
            replicas_missing_record(new, reason)
            return len(found)
        for replica in new:
            states = {"state": str(state), "former": replica.replica_state}
            replica_record(Kind.REPLICA_STATE_CHANGED, replica, reason, **states)
        return len(found)


def replicas_missing_record(replicas: Collection[Replica], reason: str) -> None:
    """Record events about replicas that are stored as Missing. If a volume has no other replica
    left, record that its data is lost.
    """
    if not replicas:
        return
    left = Replica.objects.filter(state=LifeState.READY, rebuilding=False)
    left = left.exclude(replica_state=ReplicaState.MISSING)
    volumes = Volume.objects.filter(pk__in={replica.volume_id for replica in replicas})
    with recorded_together():
        for replica in replicas:
            replica_record(Kind.REPLICA_MISSING, replica, reason)
        for volume in volumes.exclude(pk__in=left.values("volume")).order_by("pk"):
            about = {"volume": volume.uuid, "alias": volume.alias}
            record(Kind.DATA_LOST, tenant=volume.tenant_id, reason=reason, **about)


def replica_record(kind: Kind, replica: Replica, reason: str = "", **facts: Any) -> None:
    """Record an event about one replica."""
    record(
        kind,
        tenant=replica.volume.tenant_id,
        reason=reason,
        volume=replica.volume.uuid,
        replica=replica.uuid,
        backend=replica.backend_id,
        alias=replica.volume.alias,
        **facts,
    )
