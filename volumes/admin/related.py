"""Tables of volumes, replicas and exports on the pages of other objects."""

from django.db.models import QuerySet

from provisioner.common.admin import link
from provisioner.common.detail_pages import SHOWN, Table, table
from provisioner.common.display import badge, size
from volumes.models import Export, Publication, Replica, Volume


def export_table(exports: QuerySet[Export]) -> Table:
    """Exports, with host, replica and namespace."""
    rows = exports.select_related("replica__backend", "replica__volume", "publication__host")
    return table(
        "Exports",
        "Volume, Host, Node, Namespace id, Target NQN, State",
        (
            (
                link(export.replica.volume, export.replica.volume.alias),
                link(export.publication.host, export.publication.host.name)
                if export.publication
                else "",
                link(export.replica.backend, export.replica.backend.name)
                if export.replica.backend
                else "",
                export.nsid,
                export.target_nqn,
                badge(export.state),
            )
            for export in rows.order_by("pk")[: SHOWN + 1]
        ),
    )


def replica_table(replicas: QuerySet[Replica], url: str) -> Table:
    """Replicas on a node."""
    rows = replicas.select_related("volume__tenant").order_by("volume__alias", "pk")
    return table(
        "Replicas",
        "Volume, Tenant, Claims, Reported, State",
        (
            (
                link(replica.volume, replica.volume.alias),
                replica.volume.tenant.name,
                size(replica.claimed_bytes),
                badge(replica.replica_state),
                badge(replica.state),
            )
            for replica in rows[: SHOWN + 1]
        ),
        url,
    )


def publication_table(publications: QuerySet[Publication]) -> Table:
    """Volumes that are published to a host."""
    rows = publications.select_related("volume__tenant").order_by("volume__alias", "pk")
    return table(
        "Published volumes",
        "Volume, Tenant, Capacity, Replicas, State",
        (
            (
                link(publication.volume, publication.volume.alias),
                publication.volume.tenant.name,
                size(publication.volume.capacity_bytes),
                publication.volume.num_replicas,
                badge(publication.state),
            )
            for publication in rows[: SHOWN + 1]
        ),
    )


def volume_table(title: str, volumes: QuerySet[Volume], url: str = "") -> Table:
    """Volumes, the largest first."""
    rows = volumes.order_by("-capacity_bytes", "pk")[: SHOWN + 1]
    return table(
        title,
        "Volume, Capacity, Replicas, State",
        (
            (
                link(volume, volume.alias),
                size(volume.capacity_bytes),
                volume.num_replicas,
                badge(volume.state),
            )
            for volume in rows
        ),
        url,
    )
