"""Ask the agent of a host to attach or detach a volume. These are extensions of KIOXIA's release
3.22.

The host carries out the task when its agent polls. To attach, it connects the replicas and builds
the array. To detach, it stops the array. Then it ends the task. Clients publish the volume before
they attach it, and detach it before they unpublish it.
"""

from django.db import transaction

from inventory.models import Host
from provisioner.common.models import LifeState
from provisioner.common.results import ProvisionerError, ResultCode
from tasks.models import Task, TaskType
from tasks.services import task_create
from volumes.selectors import volumes_visible
from volumes.services.errors import HostNotFound, VolumeNotFound, VolumeNotPublished


class NoAgent(ProvisionerError):
    """The host has no agent that would carry out the task."""

    code = ResultCode.NotAvailable


def attachment_ask(
    *,
    type: TaskType,  # noqa: A002
    volume_uuid: str,
    host_id: str,
    tenant_id: str | None,
) -> Task:
    """Create an IDLE task of this type for the host's agent.

    When the agent has attached the volume, the finished task contains the path of the block device.

    :raises VolumeNotFound: there is no such volume, or the tenant may not see it.
    :raises HostNotFound: there is no such host.
    :raises VolumeNotPublished: the volume is not published to the host.
    :raises NoAgent: no agent on the host has probed within three probe intervals.
    :raises VolumeHasTask: the volume has a task that has not ended.
    """
    with transaction.atomic(durable=True):
        volume = volumes_visible(tenant_id).select_for_update().filter(uuid=volume_uuid).first()
        if volume is None:
            raise VolumeNotFound(f"there is no volume {volume_uuid!r}")
        host = Host.objects.filter(pk=host_id).first()
        if host is None:
            raise HostNotFound(f"there is no host {host_id!r}")
        if not volume.publications.filter(host=host, state=LifeState.READY).exists():
            raise VolumeNotPublished(
                f"volume {volume_uuid!r} is not published to host {host_id!r}: publish it first"
            )
        if not host.has_agent:
            raise NoAgent(f"no agent on host {host} has probed within three probe intervals")
        return task_create(
            type=type,
            host_id=host.pk,
            volume_id=volume.uuid,
            tenant_id=volume.tenant_id,
            params={"volId": volume.uuid, "volumeAlias": volume.alias},
            stoppable=True,
        )
