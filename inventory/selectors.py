"""Reads the pool from the database; :mod:`inventory.backend_selectors` reads the list of nodes."""

from django.db.models import F, Q, QuerySet, Sum

from inventory.models import Backend, Host, License, Ssd, SyslogServer, SyslogSource
from provisioner.common.parsing import INT64_MAX


def pool_free_bytes() -> int:
    """Return the number of free bytes on all Available backends."""
    drives = Ssd.objects.filter(present=True, backend__in=Backend.objects.available())
    free: int | None = drives.aggregate(free=Sum(F("capacity_bytes") - F("used_bytes")))["free"]
    return min(free or 0, INT64_MAX)


def host_list(
    *, uuid: str | None = None, name: str | None = None, tenant_id: str | None = None
) -> QuerySet[Host]:
    """Return all hosts, or those with this id, with this name, and that may have volumes of this
    tenant.
    """
    wanted = {"uuid": uuid, "name": name}
    rows = Host.objects.filter(**{k: v for k, v in wanted.items() if v is not None})
    return rows if tenant_id is None else rows.filter(tenant_id__in=("", tenant_id))


def host_is_named(host_id: str, name: str) -> bool:
    """Whether ``name`` is the id, the NQN or (case-insensitively) the name of the host. The agent
    of release 3.22 uses its NQN.
    """
    if name == host_id:
        return True
    names = Q(name__iexact=name) | Q(nqn=name)
    return Host.objects.filter(names, pk=host_id).exists()


def syslog_server_list() -> QuerySet[SyslogServer]:
    """The syslog servers of the pool."""
    return SyslogServer.objects.all()


def syslog_source_id() -> str | None:
    """Return the persistentID of the backend whose syslog settings the pool uses. None: there is
    none.
    """
    return SyslogSource.objects.values_list("backend_id", flat=True).first()


def license_current() -> License:
    """Return the installed licence."""
    return License.objects.get()
