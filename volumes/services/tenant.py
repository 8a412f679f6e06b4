"""Tenants and their budgets (reference, "Multi-Tenancy Management")."""

import uuid

from django.db import IntegrityError, transaction

from events.kinds import Kind
from events.models import Event
from events.recording import record
from inventory.models import Backend
from provisioner.common.results import InvalidInput, ProvisionerError, ResultCode
from tasks.models import ENDED, Task
from volumes.models import DEFAULT_TENANT, Tenant
from volumes.services.errors import TenantNotFound
from volumes.sizing import GIB


class TenantAlreadyExists(ProvisionerError):
    """The name or the id of the new tenant is taken."""

    code = ResultCode.TenantAlreadyExists


class TenantHasVolumes(ProvisionerError):
    """Volumes or snapshots belong to the tenant."""

    code = ResultCode.TenantHasVolumes


class PoolEmpty(ProvisionerError):
    """The pool has no backend."""

    code = ResultCode.NoBackends


def _require_pool() -> None:
    if not Backend.objects.exists():
        raise PoolEmpty("the pool has no backend yet: add one with POST /backends first")


def tenant_create(
    *, name: str, capacity_gib: int, total_iops: int, total_bw: int, tenant_id: str | None = None
) -> Tenant:
    """Create a tenant. Bandwidth is in bytes per second; 0 means no limit.

    :raises TenantAlreadyExists: the name or the id is taken.
    :raises PoolEmpty: there is no backend.
    """
    _require_pool()
    try:
        with transaction.atomic(durable=True):
            tenant = Tenant.objects.create(
                tenant_id=tenant_id or str(uuid.uuid4()),
                name=name,
                capacity_bytes=capacity_gib * GIB,
                total_iops=total_iops,
                total_bw=total_bw,
            )
            record(Kind.TENANT_CREATED, tenant=tenant.pk, capacityGiB=capacity_gib, name=name)
    except IntegrityError as error:
        taken = f"name {name!r}" if tenant_id is None else f"name {name!r} or id {tenant_id!r}"
        raise TenantAlreadyExists(f"a tenant with {taken} already exists") from error
    return tenant


def tenant_update(*, tenant_id: str, capacity_gib: int, total_iops: int, total_bw: int) -> None:
    """Set a tenant's budgets. The default tenant stops following the size of the pool.

    :raises TenantNotFound: there is no such tenant.
    :raises InvalidInput: the budget is less than the used capacity.
    :raises PoolEmpty: there is no backend.
    """
    _require_pool()
    budget = capacity_gib * GIB
    tenant = Tenant.objects.filter(pk=tenant_id)
    enough = tenant if budget == 0 else tenant.filter(used_bytes__lte=budget)
    with transaction.atomic(durable=True):
        if enough.update(
            capacity_bytes=budget, total_iops=total_iops, total_bw=total_bw, follows_pool=False
        ):
            record(
                Kind.TENANT_CHANGED,
                tenant=tenant_id,
                capacityGiB=capacity_gib,
                totalIOPS=total_iops,
                totalBW=total_bw,
            )
            return
    used = tenant.values_list("used_bytes", flat=True).first()
    if used is None:
        raise TenantNotFound.of(tenant_id)
    raise InvalidInput.of("capacity", capacity_gib, f"{used / GIB:g} GiB are already used")


def require_same_tenant(in_path: str, in_body: str) -> None:
    """Refuse a body that names another tenant than the path.

    :raises InvalidInput: body and path differ.
    """
    if in_path != in_body:
        raise InvalidInput.of("tenantId", in_body, f"the path names tenant {in_path!r}")


def tenant_delete(*, tenant_id: str) -> None:
    """Delete a tenant that has no volumes. After that, only callers without a tenant see its events
    and ended tasks.

    :raises InvalidInput: it is the default tenant.
    :raises TenantNotFound: there is no such tenant.
    :raises TenantHasVolumes: it has volumes or snapshots, or some that are still being removed.
    :raises PoolEmpty: there is no backend.
    """
    if tenant_id == DEFAULT_TENANT:
        raise InvalidInput.of("tenantId", tenant_id, "the default tenant cannot be deleted")
    _require_pool()
    try:
        with transaction.atomic(durable=True):
            deleted, _ = Tenant.objects.filter(pk=tenant_id).delete()
            if deleted:
                record(Kind.TENANT_DELETED, tenant=tenant_id)
                # a later tenant may get the same id, and must not see them
                Event.objects.filter(tenant_id=tenant_id).update(tenant_id="")
                Task.objects.filter(tenant_id=tenant_id, state__in=sorted(ENDED)).update(
                    tenant_id=""
                )
    except IntegrityError as error:
        raise TenantHasVolumes(
            f"tenant {tenant_id!r} still has volumes: delete them first"
        ) from error
    if not deleted:
        raise TenantNotFound.of(tenant_id)
