"""Rebuild the new replica of a task. Each call takes one step, which the current rows determine.

If a host uses the volume, the host rebuilds the replica. Otherwise the nodes copy the data. Data is
never copied into a replica to which a host had access, or whose copy a host has made outdated. Such
a replica is replaced by another one.
"""

from functools import partial

from inventory.models import Backend
from inventory.nodes.client import NodeClient
from provisioner.common.models import LifeState
from tasks.context import Context, Reschedule
from volumes.models import Replica, ReplicaState, Volume
from volumes.sagas.replace_replica.copy import LOST, replica_copy
from volumes.sagas.replace_replica.waiting import (
    HOST_SECONDS,
    NODE_SECONDS,
    RebuildFailed,
    replica_abort,
    task_call_deadline,
)
from volumes.selectors import replicas_with_nodes
from volumes.services.errors import NodesFailed
from volumes.services.node.contents import is_lost
from volumes.services.node.missing import replicas_verify
from volumes.services.node_calls import node_call, replica_spec
from volumes.services.ownership import owner_as_complete
from volumes.services.publication.exports import exports_make, record_desired_exports_for_all_hosts
from volumes.services.replica.provision import replicas_make
from volumes.services.replica.replacement_rules import (
    AVOID,
    replacement_origin,
    replacement_request,
    replica_created_by,
    volume_of,
)
from volumes.services.replica.rules import require_unchanged
from volumes.services.scheduling import (
    claim_attempts,
    replicas_claim,
    require_plan,
    volume_place,
)
from volumes.services.volume.delete import delete_replicas_on_nodes

REPLICAS_AT_MOST = 5


def replica_make(context: Context) -> Reschedule | None:
    """Create the new replica of the task. Returns None when it exists on its node."""
    task = context.task
    volume = volume_of(task)
    replica = replica_created_by(task)
    if replica is None:
        return _claim(context, volume)
    if replica.state == LifeState.READY:
        return None
    failed = replicas_make(volume, until=task_call_deadline())
    if failed is None:
        return None
    context.outputs[AVOID] = [*context.outputs.get(AVOID, ()), str(replica.backend_id)]
    return replica_abort(context, replica, failed.text)


def replica_fill(context: Context) -> Reschedule | None:
    """Rebuild the new replica of the task. Returns None when it holds the data.

    In a one-replica volume, the replica is then still ``rebuilding``, and takes over in the last
    step.

    :raises RebuildFailed: too many replicas or copies failed.
    :raises ProvisionerError: no other node fits.
    """
    if waiting := replica_make(context):
        return waiting
    replica = replica_created_by(context.task)
    if replica is None or replica.backend is None:
        return replica_abort(context, replica, "the node of its new replica was removed")
    if replica.rebuilding:
        return replica_copy(context, replica) or _record_complete(replica)
    if replica.replica_state == ReplicaState.AVAILABLE:
        return _record_complete(replica)
    return _wait_for_host(context, replica)


def _claim(context: Context, volume: Volume) -> Reschedule:
    """Claim another replica after the failed replicas, which occupy its place, are removed."""
    former = Replica.objects.filter(created_by_task=context.task.pk, state=LifeState.DELETING)
    delete_replicas_on_nodes(former, until=task_call_deadline())
    if volume.num_replicas == 1 and former.filter(backend__in=Backend.objects.available()).exists():
        return Reschedule("the former copy to be removed", NODE_SECONDS)
    count = context.outputs.get("replicas", 0) + 1
    if count > REPLICAS_AT_MOST:
        raise RebuildFailed(f"{REPLICAS_AT_MOST} new replicas failed, one after the other")
    request = replacement_request(volume, context.task)
    try:
        for attempt in claim_attempts():
            plan = require_plan(volume_place(volume, request))
            with attempt, context.transaction():
                locked = volume_of(context.task)
                require_unchanged(volume, locked)
                replicas_claim(volume, plan, replacement_origin(locked, context.task, request))
    except NodesFailed as error:
        return Reschedule(error.description, NODE_SECONDS)
    context.outputs["replicas"] = count
    return Reschedule("its new replica to be created")


def _record_complete(replica: Replica) -> Reschedule | None:
    """Record on the node that the data of the replica is complete, before the outgoing replica is
    removed.

    The recovery of an older database needs this record.
    """
    [found] = replicas_with_nodes(Replica.objects.filter(pk=replica.pk).select_related("volume"))
    spec = replica_spec(found.volume, found)
    if spec.owner is not None:
        spec = spec.model_copy(update={"owner": owner_as_complete(spec.owner)})
    call = partial(NodeClient.change_volume, uuid=found.uuid, spec=spec)
    assert found.backend is not None
    outcome = node_call(found.backend, call, until=task_call_deadline())
    if isinstance(outcome, bool):
        return None
    return Reschedule(f"node {found.backend_id} to record that the copy is complete", NODE_SECONDS)


def _wait_for_host(context: Context, replica: Replica) -> Reschedule:
    if is_lost(replicas_verify([replica], until=task_call_deadline())[replica.pk]):
        return replica_abort(context, replica, LOST)
    publications = list(replica.volume.publications.select_related("host"))
    if replica.replica_state == ReplicaState.TERMINATING:
        raise RebuildFailed(f"the new replica {replica.uuid!r} was marked for removal")
    if not publications:
        return replica_abort(context, replica, "the volume was unpublished before it was rebuilt")
    if replica.exports.count() < len(publications):
        with context.transaction():
            record_desired_exports_for_all_hosts(replica.volume)
    exports_make(replica.exports.filter(state=LifeState.CREATING), until=task_call_deadline())
    signs = [replica.replica_state, str(context.task.last_activity_at)]
    if replica.replica_state == ReplicaState.SYNCHRONIZING:
        signs += [str(publication.host.last_probe_at) for publication in publications]
    return Reschedule(
        f"its host to report the new replica {replica.uuid} Available",
        HOST_SECONDS,
        " ".join(signs),
    )
