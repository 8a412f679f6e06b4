"""Checks the rights of a token that is bound to a host."""

from volumes.selectors import volumes_filter, volumes_visible
from volumes.services.errors import VolumeNotExists


def require_volume_of_host(volume_uuid: str, host_id: str | None, *, tenant_id: str | None) -> None:
    """Check that the volume is published to the host that the caller's token is bound to.

    ``host_id`` None: the caller is bound to no host, and may use all volumes.

    :raises VolumeNotExists: the volume is not published to the host.
    """
    if host_id is None:
        return
    rows = volumes_visible(tenant_id).filter(uuid=volume_uuid)
    if not volumes_filter(rows, backend_id=None, host_id=host_id).exists():
        raise VolumeNotExists.of(volume_uuid)
