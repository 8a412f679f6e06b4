"""Signs of life of hosts (reference, "Host Probe")."""

import datetime as dt
from collections.abc import Sequence

from django.db import IntegrityError
from django.db.models import Case, F, Q, Value, When

from inventory.models import DRIVER_VERSION, LATE_FACTOR, ClientType, Host
from provisioner.common import clock
from provisioner.common.results import ProvisionerError, ResultCode

OF_ANY_PROBE = frozenset({"name", "last_probe_at", "probed_by_driver"})
"""Columns that also a driver's probe of a host with an agent changes."""


class NqnTaken(ProvisionerError):
    """Two hosts with one NQN would reach each other's volumes: the second is refused."""

    code = ResultCode.AlreadyExists

    @classmethod
    def by(cls, other: Host, *, host_id: str) -> "NqnTaken":
        return cls(
            f"NQN {other.nqn!r} belongs to host {other} ({other.state}), so host {host_id!r} "
            "cannot have it: give one of them an NQN of its own, or remove the other host"
        )


class HostOfOthers(ProvisionerError):
    """A tenant's caller speaks for a host that is not its tenant's alone."""

    code = ResultCode.AlreadyExists


def host_probe(
    *,
    uuid: str,
    name: str,
    nqn: str,
    client_type: ClientType,
    version: str,
    duration: int,
    multipath: bool = False,
    used_namespace_ids: Sequence[int] | None = None,
    tenant_id: str | None = None,
) -> None:
    """Record that the host lives and what it says of itself; its first probe makes it. The NQN of a
    host that is known stays: what is published to it depends on that.

    A driver speaks for a host from elsewhere: while an agent probes the host, a driver's probe
    changes the host's name alone. ``duration``: seconds until the next probe.
    ``used_namespace_ids``: None leaves what is known.

    ``tenant_id``: of the caller; a host that it makes belongs to that tenant.

    :raises NqnTaken: another host has the NQN.
    """
    now = clock.now()
    until = now + dt.timedelta(seconds=LATE_FACTOR * duration)
    by_driver = version.startswith(DRIVER_VERSION)
    host = Host(
        uuid=uuid,
        name=name,
        nqn=nqn,
        client_type=client_type,
        version=version,
        duration=duration,
        multipath=multipath,
        used_namespace_ids=list(used_namespace_ids or ()),
        last_probe_at=now,
        available_until=until,
        agent_until=None if by_driver else until,
        probed_by_driver=by_driver,
        tenant_id=tenant_id or "",
    )
    kept = {"uuid", "nqn", "tenant_id"}
    kept |= {"used_namespace_ids"} if used_namespace_ids is None else set()
    write = _write_of_driver if by_driver else _upsert
    columns = [field.name for field in Host._meta.concrete_fields if field.name not in kept]
    try:
        write(host, columns)
    except IntegrityError as error:
        other = Host.objects.filter(nqn=nqn).exclude(pk=uuid).first()
        if other is not None:
            raise NqnTaken.by(other, host_id=uuid) from error
        write(host, columns)  # two first probes of one host met in an index


def require_host_of_tenant(host: Host, *, nqn: str, tenant_id: str, is_its_own: bool) -> None:
    """A caller that is bound to the tenant may report this host with this NQN. ``is_its_own``: the
    caller speaks for this host alone.

    :raises HostOfOthers: the host is another tenant's, or serves all and has another NQN.
    """
    if host.tenant_id == tenant_id:
        return
    if host.tenant_id:
        raise HostOfOthers(f"host {host.pk!r} belongs to another tenant")
    if host.nqn != nqn and not is_its_own:
        raise HostOfOthers(
            f"host {host.pk!r} serves all tenants and has another NQN: only its own token, or "
            "one of role STORAGE or ADMIN that is bound to no tenant, changes that"
        )


def host_assign(*, uuid: str, tenant_id: str) -> bool:
    """The host has volumes of this tenant alone from now on ("": of all); False: there is none.

    What is published to it stays.
    """
    return bool(Host.objects.filter(pk=uuid).update(tenant_id=tenant_id))


def _upsert(host: Host, columns: Sequence[str]) -> None:
    Host.objects.bulk_create(
        [host], update_conflicts=True, unique_fields=["uuid"], update_fields=columns
    )


def _write_of_driver(host: Host, columns: Sequence[str]) -> None:
    """One UPDATE decides, row by row, what of ``columns`` is the agent's to say."""
    has_agent = Q(agent_until__gte=host.last_probe_at)
    changes: dict[str, Value | Case] = {}
    for field in Host._meta.concrete_fields:
        value = Value(getattr(host, field.name), output_field=field)
        if field.name in OF_ANY_PROBE:
            changes[field.name] = value
        elif field.name in columns and field.name != "agent_until":
            changes[field.name] = Case(When(has_agent, F(field.name)), default=value)
    if not Host.objects.filter(pk=host.pk).update(**changes):
        host.save(force_insert=True)
