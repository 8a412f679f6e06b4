"""Signs of life of hosts (reference, "Host Probe")."""

import datetime as dt
from collections.abc import Sequence

from django.db import IntegrityError
from django.utils import timezone

from inventory.models import LATE_FACTOR, ClientType, Host
from provisioner.common.results import ProvisionerError, ResultCode


class NqnTaken(ProvisionerError):
    """Two hosts with one NQN would reach each other's volumes: the second is refused."""

    code = ResultCode.AlreadyExists


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
    is_its_own: bool = False,
) -> None:
    """The host lives and is as it says; its first probe makes it. One statement.

    ``duration``: seconds until its next probe. ``used_namespace_ids``: None leaves what is known.

    ``tenant_id``: of the caller; a host that it makes belongs to that tenant. ``is_its_own``: the
    caller speaks for this host alone.

    :raises NqnTaken: another host has the NQN.
    :raises HostOfOthers: the caller's tenant may not change this host.
    """
    if tenant_id is not None:
        _refuse_others(uuid, nqn, tenant_id, is_its_own=is_its_own)
    now = timezone.now()
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
        available_until=now + dt.timedelta(seconds=LATE_FACTOR * duration),
        tenant_id=tenant_id or "",
    )
    kept = {"uuid", "tenant_id"} | ({"used_namespace_ids"} if used_namespace_ids is None else set())
    columns = [field.name for field in Host._meta.concrete_fields if field.name not in kept]
    try:
        _upsert(host, columns)
    except IntegrityError as error:
        other = Host.objects.filter(nqn=nqn).exclude(pk=uuid).first()
        if other is not None:
            raise _nqn_taken(host, other) from error
        _upsert(host, columns)  # two first probes of one host met in the index of the NQN


def _refuse_others(uuid: str, nqn: str, tenant_id: str, *, is_its_own: bool) -> None:
    """:raises HostOfOthers: the host is another tenant's, or serves all and has another NQN."""
    host = Host.objects.filter(pk=uuid).first()
    if host is None or host.tenant_id == tenant_id:
        return
    if host.tenant_id:
        raise HostOfOthers(f"host {uuid!r} belongs to another tenant")
    if host.nqn != nqn and not is_its_own:
        raise HostOfOthers(
            f"host {uuid!r} serves all tenants and has another NQN: only its own token, or one of "
            "role STORAGE or ADMIN that is bound to no tenant, changes that"
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


def _nqn_taken(host: Host, other: Host) -> NqnTaken:
    return NqnTaken(
        f"NQN {host.nqn!r} belongs to host {other} ({other.state}), so host {host.uuid!r} cannot "
        "have it: give one of them an NQN of its own, or remove the other host"
    )
