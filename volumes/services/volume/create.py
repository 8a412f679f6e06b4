"""Create a volume (reference, "Create Volume"; architecture, section 6)."""

import time
import uuid as uuids
from collections.abc import Collection
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import Q

from events.kinds import Kind
from events.recording import Tally, record
from inventory.services.node.call_time import call_deadline
from provisioner.common import clock
from provisioner.common.compiled import Compiled, whole
from provisioner.common.inserts import insert
from provisioner.common.models import LifeState
from provisioner.common.parsing import INT64_MAX
from provisioner.common.queue import enqueue_on_commit
from provisioner.common.results import InvalidInput, ProvisionerError, ResultCode
from volumes.models import Protocol, ProvisioningType, Replica, Volume
from volumes.placement.scheduler import Plan
from volumes.selectors import LIVE
from volumes.services.claims import TenantCapacityExceeded
from volumes.services.deadlines import unfinished_deadline
from volumes.services.errors import (
    InvalidReplicas,
    NodesFailed,
    VolumeExists,
)
from volumes.services.replica.provision import FailedReplicas, replicas_make
from volumes.services.scheduling import (
    NoCandidate,
    ReplicaOrigin,
    claim_attempts,
    placement_request,
    replicas_claim,
    require_plan,
    volume_place,
)
from volumes.services.volume.delete import delete_replicas_on_nodes
from volumes.sizing import GIB, claimed_bytes

MOST_REPLICAS_AT_CREATION = 3
READY = Compiled(
    lambda: Volume.objects.filter(pk=whole("volume"), state=LifeState.CREATING),
    state=LifeState.READY,
    deadline_at=None,
)
REFUSED = Tally(Kind.PLACEMENT_REFUSED, most=20)


class ChangedByOtherAttempt(ProvisionerError):
    """Another attempt of the same request has created, replaced or aborted the failed replicas.
    Read the rows again.
    """

    code = ResultCode.NotAvailable


@dataclass(frozen=True)
class VolumeRequest:
    """The request of a client. Rates are per GiB; 0 means no limit, or nothing reserved.

    ``replicable`` None: the volume is replicable if it has several replicas.
    """

    alias: str
    capacity_gib: int
    uuid: str | None = None
    provisioning_type: ProvisioningType = ProvisioningType.THICK
    reserved_space_percentage: int = 0
    protocol: Protocol = Protocol.NVMEOF
    num_replicas: int = 1
    replicable: bool | None = None
    same_rack_allowed: bool = False
    racks: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    max_iops_per_gb: int = 0
    desired_iops_per_gb: int = 0
    max_bw_per_gb: int = 0
    desired_bw_per_gb: int = 0
    block_size: int = 4096
    max_replica_down_minutes: int = 0
    storage_class_name: str = ""
    share_ssd: bool = True
    host_id: str = ""
    allow_span: bool = False


def volume_create(
    *, tenant_id: str, request: VolumeRequest, idempotency_digest: str = ""
) -> Volume:
    """Create a volume on the best nodes. If a node fails, another node is chosen while time
    remains.

    A retry with the same ``idempotency_digest`` continues or returns the volume of the first
    attempt.

    :raises InvalidInput: fields contradict each other.
    :raises InvalidReplicas: not 1 to 3 replicas.
    :raises VolumeExists: the uuid or the alias is taken.
    :raises NoCandidate: no nodes fit, or too few; the text names each filter.
    :raises TenantCapacityExceeded: the tenant's budget would be exceeded.
    :raises NodesFailed: the nodes did not answer in time.
    """
    draft = _draft(tenant_id, request, idempotency_digest)
    until = call_deadline()
    try:
        volume, claimed = _begin(draft, named=request.uuid is not None, until=until)
    except (NoCandidate, TenantCapacityExceeded) as error:
        REFUSED.count(
            tenant_id,
            tenant=tenant_id,
            alias=request.alias,
            capacityGiB=request.capacity_gib,
            reason=error.description,
        )
        raise
    if volume.state == LifeState.READY:
        return volume
    avoid: frozenset[str] = frozenset()
    while failed := replicas_make(volume, until=until, claimed=claimed):
        avoid |= {str(r.backend_id) for r in failed.replicas}
        _replace(volume, failed, avoid, in_time=time.monotonic() < until)
        claimed = []
    volume_ready(volume)
    if avoid:
        enqueue_on_commit("volumes.jobs.collect")
    return volume


def volume_dry_run(*, tenant_id: str, request: VolumeRequest) -> Plan:
    """Return the plan that :func:`volume_create` would use now. Nothing is claimed."""
    volume = _draft(tenant_id, request)
    return volume_place(volume, placement_request(volume, replicas=volume.num_replicas))


def _draft(tenant_id: str, request: VolumeRequest, idempotency_digest: str = "") -> Volume:
    if not 1 <= request.num_replicas <= MOST_REPLICAS_AT_CREATION:
        raise InvalidReplicas(f"numReplicas = {request.num_replicas}: must be 1 to 3")
    several = request.num_replicas > 1
    if several and request.replicable is False:
        raise InvalidInput.of("storageClass.replicable", False, "must be true for several replicas")
    if not request.share_ssd and not request.storage_class_name:
        raise InvalidInput.of(
            "storageClass.name", "", "is required if shareSSDBetweenVolumes is false"
        )
    for name in ("max_iops", "desired_iops", "max_bw", "desired_bw"):
        if getattr(request, f"{name}_per_gb") * request.capacity_gib > INT64_MAX:
            raise InvalidInput.of(
                name, getattr(request, f"{name}_per_gb"), "times capacity is too large"
            )
    capacity = request.capacity_gib * GIB
    fields = {k: v for k, v in vars(request).items() if k not in {"capacity_gib", "uuid"}}
    fields["replicable"] = bool(request.replicable or several)
    return Volume(
        uuid=request.uuid or str(uuids.uuid4()),
        tenant_id=tenant_id,
        capacity_bytes=capacity,
        claimed_bytes=claimed_bytes(
            request.provisioning_type, capacity, request.reserved_space_percentage
        ),
        deadline_at=unfinished_deadline(),
        idempotency_digest=idempotency_digest,
        **fields,
    )


def volume_of_request(draft: Volume) -> Volume | None:
    """Return the live volume that an earlier attempt of the same request created or is creating.

    :raises VolumeExists: another live volume or its replica has the uuid, or another live volume
        has the alias in the same tenant.
    """
    taken = Volume.objects.filter(
        LIVE, Q(uuid=draft.uuid) | Q(tenant_id=draft.tenant_id, alias=draft.alias)
    ).first()
    if taken is None:
        others = Replica.objects.filter(LIVE, uuid=draft.uuid, rebuilding=False)
        # another attempt of this request may have claimed the volume since
        if others.exclude(volume__uuid=draft.uuid).exists():
            raise VolumeExists(f"a replica of another volume has the uuid {draft.uuid!r}")
        return None
    if not taken.matches_request(draft.idempotency_digest) or taken.tenant_id != draft.tenant_id:
        what = f"uuid {draft.uuid!r}" if taken.uuid == draft.uuid else f"alias {draft.alias!r}"
        raise VolumeExists(f"a volume with the {what} already exists")
    creating = Volume.objects.filter(pk=taken.pk, state=LifeState.CREATING)
    creating.update(deadline_at=unfinished_deadline())
    return taken


def _begin(draft: Volume, *, named: bool, until: float) -> tuple[Volume, list[Replica]]:
    """Claim the volume, and return it with its new replicas. If another attempt of the request has
    claimed it, return that volume without replicas.

    ``named``: the client chose the uuid. Then the replicas of a deleted volume of that uuid are
    removed first. Otherwise only the alias can be taken, which the insert detects.
    """
    if named:
        if begun := volume_of_request(draft):
            return begun, []
        former = Replica.objects.filter(uuid=draft.uuid, state=LifeState.DELETING)
        delete_replicas_on_nodes(former, until=until)
    try:
        return draft, _claim(draft, is_new=not named)
    except ProvisionerError:
        if (begun := volume_of_request(draft)) is None:
            raise
        return begun, []


def _claim(volume: Volume, *, is_new: bool) -> list[Replica]:
    request = placement_request(volume, replicas=volume.num_replicas, is_new=is_new)
    claimed: list[Replica] = []
    for attempt in claim_attempts():
        plan = require_plan(volume_place(volume, request))
        with attempt, transaction.atomic(durable=True):
            volume.pk = None  # a rolled-back attempt has set it; another row may have this key now
            _insert(volume)
            claimed = replicas_claim(volume, plan, ReplicaOrigin(kind=Kind.VOLUME_CREATED))
    return claimed


def _insert(volume: Volume) -> None:
    try:
        insert(volume)
    except IntegrityError as error:
        raise VolumeExists(
            f"a volume with uuid {volume.uuid!r} or alias {volume.alias!r} already exists"
        ) from error


def _replace(
    volume: Volume, failed: FailedReplicas, avoid: frozenset[str], *, in_time: bool
) -> None:
    """Claim replicas on other nodes for those that failed. The collector removes the failed
    ones.
    """
    beside = tuple(volume.replicas.filter(state=LifeState.READY).select_related("backend"))
    request = placement_request(volume, replicas=len(failed.replicas), avoid=avoid, beside=beside)
    try:
        if not in_time:
            raise NodesFailed("the nodes did not answer in time")
        for attempt in claim_attempts():
            plan = require_plan(volume_place(volume, request))
            with attempt, transaction.atomic(durable=True):
                _mark_failed_deleting(volume, failed.replicas)
                replicas_claim(volume, plan, ReplicaOrigin())
    except ProvisionerError as error:
        text = f"{error.description}; {failed.text}"
        if volume_abort(volume, failed.replicas, text):
            raise type(error)(text) from error


def _mark_failed_deleting(volume: Volume, failed: Collection[Replica]) -> None:
    """Lock the volume and mark its failed replicas as deleting, inside the caller's transaction.

    :raises ChangedByOtherAttempt: the volume, or one of those replicas, is no longer CREATING.
    """
    locked = Volume.objects.select_for_update().filter(pk=volume.pk, state=LifeState.CREATING)
    unmade = volume.replicas.filter(pk__in=[r.pk for r in failed], state=LifeState.CREATING)
    if not locked.exists() or len(failed) > unmade.update(
        state=LifeState.DELETING, deadline_at=clock.now()
    ):
        raise ChangedByOtherAttempt("a repeat of this request continues with the volume")


def volume_ready(volume: Volume) -> None:
    """Set a volume READY, after all of its replicas were created.

    :raises NodesFailed: it was deleted or aborted meanwhile.
    """
    if (
        not READY.update(volume=volume.pk)
        and not Volume.objects.filter(pk=volume.pk, state=LifeState.READY).exists()
    ):
        raise NodesFailed("the volume was deleted while it was being created")
    volume.state, volume.deadline_at = LifeState.READY, None


def volume_abort(
    volume: Volume,
    failed: Collection[Replica] = (),
    reason: str = "the process that was creating it died",
) -> bool:
    """Abort a volume that is being created, and let the collector remove it from its nodes.

    Returns False, and changes nothing, if the volume is no longer CREATING, or if another attempt
    of the same request created or replaced one of the ``failed`` replicas.
    """
    try:
        with transaction.atomic(durable=True):
            _mark_failed_deleting(volume, failed)
            gone = {"state": LifeState.DELETING, "deadline_at": clock.now()}
            Volume.objects.filter(pk=volume.pk).update(**gone)
            volume.replicas.update(**gone)
            record(
                Kind.VOLUME_ABORTED,
                tenant=volume.tenant_id,
                volume=volume.uuid,
                backend=[replica.backend_id for replica in failed],
                alias=volume.alias,
                reason=reason,
            )
    except ChangedByOtherAttempt:
        return False
    enqueue_on_commit("volumes.jobs.collect")
    return True
