"""Tables on the page of a volume."""

from django.db.models import Prefetch

from provisioner.common import clock
from provisioner.common.admin import link, list_url
from provisioner.common.detail_pages import SHOWN, Table, table
from provisioner.common.display import badge, due, size
from volumes.models import Replica, Snapshot, SubVolume, Volume
from volumes.pending import publication_pending_reason, replica_row_pending_reason


def replicas_of_volume(volume: Volume) -> Table:
    """The replicas of the volume: node, state, and what unfinished ones wait for."""
    pieces = Prefetch("sub_volumes", SubVolume.objects.select_related("ssd"))
    rows = volume.replicas.select_related("backend", "volume").prefetch_related(pieces, "exports")
    return table(
        "Replicas",
        "Replica, Node, Reported, Since, Drives, State, Waits for",
        (
            (
                link(replica, replica.uuid),
                link(replica.backend, replica.backend.name) if replica.backend else "",
                badge(replica.replica_state),
                f"{replica.replica_state_since:%Y-%m-%d %H:%M:%S}",
                _sub_volumes(replica),
                badge(replica.state),
                _pending_reason(replica),
            )
            for replica in rows
        ),
    )


def _sub_volumes(replica: Replica) -> str:
    pieces = replica.sub_volumes.all()
    return ", ".join(f"{piece.ssd.ssd_id}: {size(piece.claimed_bytes)}" for piece in pieces)


def _pending_reason(replica: Replica) -> str:
    reason, deadline = replica_row_pending_reason(replica), replica.deadline_at
    return reason or (due(deadline, clock.now()) if deadline else "")


def hosts_of_volume(volume: Volume) -> Table:
    """The hosts that the volume is published to."""
    rows = volume.publications.select_related("host", "volume").order_by("pk")
    return table(
        "Published to",
        "Host, Host state, State, Waits for",
        (
            (
                link(publication.host, publication.host.name),
                badge(publication.host.state),
                badge(publication.state),
                publication_pending_reason(publication),
            )
            for publication in rows[: SHOWN + 1]
        ),
    )


def snapshots_of_volume(volume: Volume) -> Table:
    """The snapshots of the volume, the latest first."""
    rows = volume.snapshots.order_by("-created_at", "pk")
    return table(
        "Snapshots",
        "Snapshot, Capacity, Claims, Created, State",
        (
            (
                link(snapshot, snapshot.alias),
                size(snapshot.capacity_bytes),
                size(snapshot.claimed_bytes),
                f"{snapshot.created_at:%Y-%m-%d %H:%M:%S}",
                badge(snapshot.state),
            )
            for snapshot in rows[: SHOWN + 1]
        ),
        list_url(Snapshot, volume=volume.pk),
    )
