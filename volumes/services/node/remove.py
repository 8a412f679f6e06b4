"""Remove a backend from the pool (reference, "Remove Backend")."""

from django.db import IntegrityError, transaction
from django.db.models import Q

from events.kinds import Kind
from events.recording import record
from inventory.models import Backend, Ssd
from inventory.services.node.clients import node_client
from inventory.services.node.controller_slots import slot_release
from inventory.services.node.register import BackendNotFound, node_release
from provisioner.common import clock
from provisioner.common.models import LifeState
from provisioner.common.results import ProvisionerError, ResultCode
from volumes.models import Export, Replica, ReplicaState, Snapshot, SubVolume, Volume
from volumes.services.claims import replica_release
from volumes.services.node.drain import drain_finish
from volumes.services.publication.namespace_ids import namespace_ids_touch
from volumes.services.replica.state import replicas_missing_record


class BackendHasVolumes(ProvisionerError):
    """The backend holds replicas, so it cannot be removed."""

    code = ResultCode.BackendHasVolumes


def backend_remove(*, persistent_id: str, force: bool) -> None:
    """Remove a node from the pool.

    With ``force``, a node that is Unavailable is removed although it holds replicas. Its replicas
    and their snapshots stay as rows without a backend, in state ``Missing``. Replicas that were
    being deleted or rebuilt are deleted at once; if they have snapshots, the collector deletes them
    later.

    :raises BackendNotFound: there is no such node.
    :raises BackendHasVolumes: it holds replicas, and ``force`` is not set or the node is Available.
    """
    try:
        with transaction.atomic(durable=True):
            _lock_contents(persistent_id)
            backend = Backend.objects.select_for_update().filter(pk=persistent_id).first()
            if backend is None:
                raise BackendNotFound.of(persistent_id)
            lost = _unplace_replicas(backend, force=force)
            drain_finish(persistent_id)
            slot_release(backend)
            node = node_client(backend)
            backend.delete()
            record(
                Kind.BACKEND_REMOVED, backend=persistent_id, name=backend.name, replicas=len(lost)
            )
            replicas_missing_record(lost, f"node {persistent_id} was removed by force")
    except IntegrityError as error:
        raise BackendHasVolumes(
            f"a volume was placed on backend {persistent_id!r} at the same moment"
        ) from error
    node_release(persistent_id, node)


def _lock_contents(persistent_id: str) -> None:
    """Lock the rows in the common order: volumes, snapshots, SSDs, then the backend."""
    volumes = Volume.objects.filter(replicas__backend=persistent_id)
    list(Volume.objects.select_for_update().filter(pk__in=volumes).order_by("pk"))
    snapshots = Snapshot.objects.filter(replica__backend=persistent_id)
    list(Snapshot.objects.select_for_update().filter(pk__in=snapshots).order_by("pk"))
    list(Ssd.objects.select_for_update().filter(backend=persistent_id).order_by("pk"))


def _unplace_replicas(backend: Backend, *, force: bool) -> list[Replica]:
    """Remove the node from the rows of its replicas. Returns the replicas that are now Missing."""
    replicas = list(Replica.objects.filter(backend=backend).select_related("volume"))
    if not replicas:
        return []
    if not force or backend.is_available:
        rule = (
            "the node is Available"
            if force
            else ("delete them, or use force if the node is Unavailable")
        )
        raise BackendHasVolumes(f"backend {backend.pk!r} holds {len(replicas)} replicas: {rule}")
    keys = [r.pk for r in replicas]
    snapshots = Snapshot.objects.filter(replica__in=keys)
    states = [*(r.state for r in replicas), *snapshots.values_list("state", flat=True)]
    if LifeState.CREATING in states:
        raise BackendHasVolumes(f"a volume is being created on backend {backend.pk!r}: try again")
    exports = Export.objects.filter(replica__in=keys)
    namespace_ids_touch(exports)
    exports.delete()
    held = set(snapshots.values_list("replica_id", flat=True))
    for replica in replicas:
        if (replica.state == LifeState.DELETING or replica.rebuilding) and replica.pk not in held:
            replica_release(replica, tenant_id=replica.volume.tenant_id)
            replica.delete()
    SubVolume.objects.filter(Q(replica__in=keys) | Q(snapshot__in=snapshots)).delete()
    Replica.objects.filter(pk__in=keys).update(
        backend=None,
        replica_state=ReplicaState.MISSING,
        replica_state_since=clock.now(),
        desired_iops=0,
        desired_bw=0,
    )
    missing = Replica.objects.filter(pk__in=keys, state=LifeState.READY)
    was = {r.pk: r.replica_state for r in replicas}
    return [r for r in missing.select_related("volume") if was[r.pk] != ReplicaState.MISSING]
