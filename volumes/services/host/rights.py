"""What a host's own token may change (contract, section 2)."""

from volumes.selectors import volumes_filter, volumes_visible
from volumes.services.errors import VolumeNotExists


def require_volume_of_host(volume_uuid: str, host_id: str | None, *, tenant_id: str | None) -> None:
    """Check that a caller with a host's token works on a volume that is published to that host.

    ``host_id`` None: the caller is bound to no host, and may work on all volumes.

    :raises VolumeNotExists: the volume is not published to the host.
    """
    if host_id is None:
        return
    rows = volumes_visible(tenant_id).filter(uuid=volume_uuid)
    if not volumes_filter(rows, backend_id=None, host_id=host_id).exists():
        raise VolumeNotExists.of(volume_uuid)
