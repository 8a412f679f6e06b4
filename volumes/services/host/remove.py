"""Remove a host (reference, "Delete Host"); its volumes are unpublished first."""

from django.db import transaction

from events.kinds import Kind
from events.recording import record
from inventory.models import Host
from inventory.services.node.call_time import call_deadline
from provisioner.common.results import ProvisionerError, ResultCode
from tasks.services import tasks_abort, tasks_touch
from volumes.models import Export, Publication, Volume
from volumes.services.publication.exports import delete_exports_on_nodes, mark_publications_deleting
from volumes.services.publication.publish import UNPUBLISHED
from volumes.services.replica.remove import marked_replicas_remove


class HostNotExists(ProvisionerError):
    """There is no such host."""

    code = ResultCode.NotExists


class HostAvailable(ProvisionerError):
    """The host's agent has probed recently, so the host may still use volumes."""

    code = ResultCode.HostAvailable


def host_remove(*, host_id: str) -> None:
    """Delete a host that is Unavailable, unpublish its volumes, and remove its target from the
    nodes.

    A node that is down removes the target when it is back.

    :raises HostNotExists: there is no such host.
    :raises HostAvailable: the host is Available.
    """
    while (keys := _unpublished(host_id)) is None:
        pass
    delete_exports_on_nodes(Export.objects.filter(pk__in=keys), until=call_deadline())


def _unpublished(host_id: str) -> list[int] | None:
    """Delete the host and its publications. Returns the keys of the exports to remove. None: a
    volume was published to the host meanwhile, and must be locked before the host.
    """
    with transaction.atomic(durable=True):
        volumes = Volume.objects.filter(publications__host=host_id)
        locked = list(Volume.objects.select_for_update().filter(pk__in=volumes).order_by("pk"))
        host = Host.objects.select_for_update().filter(pk=host_id).first()
        if host is None:
            raise HostNotExists(f"there is no host {host_id!r}")
        if host.is_available:
            raise HostAvailable(f"host {host_id!r} is Available: stop its agent first")
        publications = Publication.objects.filter(host=host)
        if publications.exclude(volume__in=locked).exists():
            return None
        keys = mark_publications_deleting(publications)
        host.delete()
        record(Kind.HOST_REMOVED, tenant=host.tenant_id, host=host_id, name=host.name)
        for volume in locked:
            tasks_abort(volume_id=volume.uuid, reason=UNPUBLISHED, only_hosts=True)
            tasks_touch(volume_id=volume.uuid)
            marked_replicas_remove(volume)
    return keys
