"""Probes of hosts (reference, "Host Probe")."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import Case, F, Q, Value, When

from inventory.models import DRIVER_VERSION, LATE_FACTOR, ClientType, Host
from provisioner.common import clock
from provisioner.common.inserts import upsert
from provisioner.common.results import ProvisionerError, ResultCode

OF_ANY_PROBE = frozenset({"name", "last_probe_at", "probed_by_driver"})
"""Columns that a driver's probe changes even if the host has an agent."""

OF_HOST = frozenset({"agent_until", "used_namespace_ids"})
"""Columns that a driver's probe of a known host never changes."""


class NqnTaken(ProvisionerError):
    """Another host has the NQN. Two hosts with the same NQN would have access to each other's
    volumes, so the second one is refused.
    """

    code = ResultCode.AlreadyExists

    @classmethod
    def by(cls, other: Host, *, host_id: str) -> "NqnTaken":
        return cls(
            f"NQN {other.nqn!r} belongs to host {other} ({other.state}), so host {host_id!r} "
            "cannot have it: give one of them another NQN, or remove the other host"
        )


class HostOfOtherTenant(ProvisionerError):
    """The caller is bound to a tenant, and the host does not belong to that tenant only."""

    code = ResultCode.AlreadyExists


@dataclass(frozen=True, kw_only=True)
class HostReport:
    """The content of a probe of a host.

    ``duration``: seconds until the next probe. ``used_namespace_ids``: None keeps the stored ones.
    ``tenant_id``: the tenant of the caller; a host that this probe creates belongs to it.
    ``is_its_own``: the token of the caller is for this host only.
    """

    uuid: str
    name: str
    nqn: str
    client_type: ClientType
    version: str
    duration: int
    multipath: bool = False
    used_namespace_ids: Sequence[int] | None = None
    tenant_id: str | None = None
    is_its_own: bool = False

    @property
    def by_driver(self) -> bool:
        return self.version.startswith(DRIVER_VERSION)

    @property
    def columns(self) -> list[str]:
        """The columns that a probe of a known host changes."""
        kept = {"uuid", "nqn", "tenant_id", "recorded_available"}
        kept |= {"used_namespace_ids"} if self.used_namespace_ids is None else set()
        return [field.name for field in Host._meta.concrete_fields if field.name not in kept]

    def row(self, at: dt.datetime) -> Host:
        """Return an unsaved row of the host, after a probe at this time."""
        until = at + dt.timedelta(seconds=LATE_FACTOR * self.duration)
        return Host(
            uuid=self.uuid,
            name=self.name,
            nqn=self.nqn,
            client_type=self.client_type,
            version=self.version,
            duration=self.duration,
            multipath=self.multipath,
            used_namespace_ids=list(self.used_namespace_ids or ()),
            last_probe_at=at,
            available_until=until,
            agent_until=None if self.by_driver else until,
            probed_by_driver=self.by_driver,
            tenant_id=self.tenant_id or "",
        )


def host_probe(report: HostReport) -> None:
    """Record a probe of the host. The first probe creates the host. This function never changes the
    NQN of a known host, because its exports depend on it.

    A driver reports for a host from another machine. While an agent probes the host, a driver's
    probe changes only the host's name. If the host serves all tenants, the probe of a tenant's
    caller counts as a driver's, unless the caller is the host.

    :raises NqnTaken: another host has the NQN.
    """
    host, columns = report.row(clock.now()), report.columns
    write = _write_of_driver if report.by_driver or _is_by_guest(report) else upsert
    try:
        write(host, columns)
    except IntegrityError as error:
        other = Host.objects.filter(nqn=report.nqn).exclude(pk=report.uuid).first()
        if other is not None:
            raise NqnTaken.by(other, host_id=report.uuid) from error
        write(host, columns)  # another first probe of the same host created it at the same time


def host_add(report: HostReport) -> bool:
    """Create the host. Returns False if another host with this id or NQN was created at the same
    time.
    """
    try:
        with transaction.atomic():
            report.row(clock.now()).save(force_insert=True)
    except IntegrityError:
        return False
    return True


def require_reportable(host: Host, report: HostReport) -> None:
    """Check that the caller may report this host with this NQN.

    :raises HostOfOtherTenant: the caller is bound to a tenant, and the host belongs to another one,
        or serves all tenants and has another NQN.
    """
    if report.tenant_id in {None, host.tenant_id}:
        return
    if host.tenant_id:
        raise HostOfOtherTenant(f"host {host.pk!r} belongs to another tenant")
    if host.nqn != report.nqn and not report.is_its_own:
        raise HostOfOtherTenant(
            f"host {host.pk!r} serves all tenants and has another NQN: only its own token, or a "
            "token of role STORAGE or ADMIN without a tenant, can change the NQN"
        )


def host_assign(*, uuid: str, tenant_id: str) -> bool:
    """Assign the host to this tenant, so that only volumes of the tenant can be published to the
    host. "": volumes of all tenants. Existing publications stay.

    Returns False if there is no such host.
    """
    return bool(Host.objects.filter(pk=uuid).update(tenant_id=tenant_id))


def _is_by_guest(report: HostReport) -> bool:
    """Whether the caller is bound to a tenant, is not the host, and the host serves all tenants."""
    shared = Host.objects.filter(pk=report.uuid, tenant_id="")
    return report.tenant_id is not None and not report.is_its_own and shared.exists()


def _write_of_driver(host: Host, columns: Sequence[str]) -> None:
    """Store the probe of a driver. A single UPDATE keeps the columns that belong to the agent, if
    there is one, and the columns that only the host knows.
    """
    has_agent = Q(agent_until__gte=host.last_probe_at)
    changes: dict[str, Value | Case] = {}
    for field in Host._meta.concrete_fields:
        value = Value(getattr(host, field.name), output_field=field)
        if field.name in OF_ANY_PROBE:
            changes[field.name] = value
        elif field.name in columns and field.name not in OF_HOST:
            changes[field.name] = Case(When(has_agent, F(field.name)), default=value)
    if not Host.objects.filter(pk=host.pk).update(**changes):
        host.save(force_insert=True)
