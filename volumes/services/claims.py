"""Claims on SSDs, backends and tenants. Each claim checks and writes in one statement.

All code claims and releases in the same order, so that transactions cannot deadlock: the row of the
volume, SSDs by key, backends by key, the tenant. All transactions of a tenant share the row of the
tenant, so it comes last and is locked for the shortest time.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db.models import F, Q, QuerySet

from inventory.models import Backend, Ssd
from provisioner.common.compiled import Compiled, text, whole
from provisioner.common.results import ProvisionerError, ResultCode
from volumes.models import Replica, Snapshot, SubVolume, Tenant
from volumes.services.errors import TenantNotFound
from volumes.sizing import GIB

SPACE = Compiled(
    lambda: Ssd.objects.filter(
        pk=whole("ssd"), present=True, used_bytes__lte=F("capacity_bytes") - whole("size")
    ),
    used_bytes=F("used_bytes") + whole("size"),
)
"""Claims space on an SSD that has enough."""
BUDGET = Compiled(
    lambda: Tenant.objects.filter(pk=text("tenant")).filter(
        Q(capacity_bytes=0) | Q(used_bytes__lte=F("capacity_bytes") - whole("size"))
    ),
    used_bytes=F("used_bytes") + whole("size"),
)
"""Charges a tenant whose budget has room."""


class ClaimLost(Exception):
    """Another transaction took the planned space first. The caller must plan again."""


class TenantCapacityExceeded(ProvisionerError):
    """The tenant's budget has no room for the change."""

    code = ResultCode.TenantCapacityExceeded


@dataclass
class Claims:
    """The claims of a change on the pool and the tenant: bytes by SSD key, IOPS and bytes per
    second by backend id.
    """

    tenant_id: str
    ssd_bytes: Counter[int] = field(default_factory=Counter)
    backend_iops: Counter[str] = field(default_factory=Counter)
    backend_bw: Counter[str] = field(default_factory=Counter)

    @property
    def tenant_bytes(self) -> int:
        """The bytes that are charged to the tenant's budget."""
        return self.ssd_bytes.total()

    def add_replica(
        self, backend_id: str, sub_volumes: Mapping[int, int], iops: int, bandwidth: int
    ) -> None:
        """Add the claims of one replica. ``sub_volumes``: bytes by SSD key."""
        self.ssd_bytes.update(sub_volumes)
        self.backend_iops[backend_id] += iops
        self.backend_bw[backend_id] += bandwidth


def claims_take(claims: Claims, *, of_budget: bool = True) -> None:
    """Take all claims, inside the caller's transaction. If one is refused, an error is raised, and
    the caller's rollback releases the others.

    ``of_budget`` False: the budget of the tenant is not charged.

    :raises ClaimLost: an SSD or backend no longer has that much free.
    :raises TenantCapacityExceeded: the tenant's budget would be exceeded.
    """
    for ssd_id, size in sorted(claims.ssd_bytes.items()):
        if not SPACE.update(ssd=ssd_id, size=size):
            raise ClaimLost
    for backend_id in sorted(claims.backend_iops):
        _claim_performance(
            backend_id, claims.backend_iops[backend_id], claims.backend_bw[backend_id]
        )
    if of_budget:
        _claim_budget(claims.tenant_id, claims.tenant_bytes)


def _claim_performance(backend_id: str, iops: int, bandwidth: int) -> None:
    if not (iops or bandwidth):
        return
    free = Backend.objects.filter(
        pk=backend_id,
        used_iops__lte=F("total_iops") - iops,
        used_bw__lte=F("total_bw") - bandwidth,
    )
    if not free.update(used_iops=F("used_iops") + iops, used_bw=F("used_bw") + bandwidth):
        raise ClaimLost


def budget_take(tenant_id: str, size: int) -> None:
    """Charge ``size`` bytes to the tenant's budget. A negative ``size`` returns bytes.

    :raises TenantCapacityExceeded: the budget has no room for it.
    :raises TenantNotFound: there is no such tenant.
    """
    if size > 0:
        _claim_budget(tenant_id, size)
    else:
        Tenant.objects.filter(pk=tenant_id).update(used_bytes=F("used_bytes") + size)


def _claim_budget(tenant_id: str, size: int) -> None:
    if BUDGET.update(tenant=tenant_id, size=size):
        return
    tenant = Tenant.objects.filter(pk=tenant_id)
    budget = tenant.values_list("capacity_bytes", "used_bytes").first()
    if budget is None:
        raise TenantNotFound.of(tenant_id)
    raise TenantCapacityExceeded(
        f"tenant {tenant_id!r} has a budget of {budget[0] / GIB:g} GiB, of which "
        f"{budget[1] / GIB:g} GiB are used; the request needs {size / GIB:g} GiB more for all "
        "replicas"
    )


def replica_release(replica: Replica, *, tenant_id: str) -> None:
    """Release the claims of a replica.

    Call it in the transaction that deletes the row of the replica, after the node confirmed the
    removal, or if the node never got the replica.
    """
    _release_sub_volumes(replica.sub_volumes.all())
    if replica.backend_id and (replica.desired_iops or replica.desired_bw):
        Backend.objects.filter(pk=replica.backend_id).update(
            used_iops=F("used_iops") - replica.desired_iops,
            used_bw=F("used_bw") - replica.desired_bw,
        )
    Tenant.objects.filter(pk=tenant_id).update(used_bytes=F("used_bytes") - replica.claimed_bytes)


def snapshot_release(snapshot: Snapshot) -> None:
    """Release the claims of a snapshot, by the rules of :func:`replica_release`."""
    _release_sub_volumes(snapshot.sub_volumes.all())
    tenant = Tenant.objects.filter(pk=snapshot.tenant_id)
    tenant.update(used_bytes=F("used_bytes") - snapshot.claimed_bytes)


def _release_sub_volumes(sub_volumes: QuerySet[SubVolume]) -> None:
    claims = list(sub_volumes.order_by("ssd_id").values_list("ssd_id", "claimed_bytes"))
    for ssd_id, size in claims:
        Ssd.objects.filter(pk=ssd_id).update(used_bytes=F("used_bytes") - size)
