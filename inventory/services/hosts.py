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
    """The host lives and is as it says; its first probe makes it. One statement.

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
    kept = {"uuid"} if used_namespace_ids is not None else {"uuid", "used_namespace_ids"}
    columns = [field.name for field in Host._meta.concrete_fields if field.name not in kept]
    try:
        Host.objects.bulk_create(
            [host], update_conflicts=True, unique_fields=["uuid"], update_fields=columns
        )
    except IntegrityError as error:
        raise _nqn_taken(nqn, uuid) from error


def _nqn_taken(nqn: str, uuid: str) -> NqnTaken:
    other = Host.objects.filter(nqn=nqn).exclude(pk=uuid).first()
    owner = f"host {other} ({other.state})" if other else "another host"
    return NqnTaken(
        f"NQN {nqn!r} belongs to {owner}, so host {uuid!r} cannot have it: "
        "give one of them an NQN of its own, or remove the other host"
    )
