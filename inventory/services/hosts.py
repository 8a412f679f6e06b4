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

    @classmethod
    def by(cls, other: Host, *, host_id: str) -> "NqnTaken":
        return cls(
            f"NQN {other.nqn!r} belongs to host {other} ({other.state}), so host {host_id!r} "
            "cannot have it: give one of them an NQN of its own, or remove the other host"
        )


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
) -> None:
    """The host lives and is as it says; its first probe makes it. One statement. The NQN of a host
    that is known stays: what is published to it depends on that.

    ``duration``: seconds until its next probe. ``used_namespace_ids``: None leaves what is known.

    :raises NqnTaken: another host has the NQN.
    """
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
    )
    kept = {"uuid", "nqn"} | ({"used_namespace_ids"} if used_namespace_ids is None else set())
    columns = [field.name for field in Host._meta.concrete_fields if field.name not in kept]
    try:
        _upsert(host, columns)
    except IntegrityError as error:
        other = Host.objects.filter(nqn=nqn).exclude(pk=uuid).first()
        if other is not None:
            raise NqnTaken.by(other, host_id=uuid) from error
        _upsert(host, columns)  # two first probes of one host met in the index of the NQN


def _upsert(host: Host, columns: Sequence[str]) -> None:
    Host.objects.bulk_create(
        [host], update_conflicts=True, unique_fields=["uuid"], update_fields=columns
    )
