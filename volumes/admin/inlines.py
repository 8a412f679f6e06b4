"""Tables of related rows on administration pages."""

from typing import Any

from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest

from provisioner.common.admin import (
    ReadOnlyInline,
    link_column,
    size_column,
    text_column,
    wait_column,
)
from provisioner.common.display import size
from volumes.models import Export, Publication, Replica, Snapshot, SubVolume
from volumes.pending import replica_row_pending_reason


class SubVolumeInline(ReadOnlyInline):
    """Sub-volumes of a replica or snapshot."""

    ssd_link = link_column("ssd", "SSD")
    capacity = size_column("capacity_bytes", "capacity")
    claimed = size_column("claimed_bytes", "claimed")
    model = SubVolume
    fields = [
        "ssd_link",
        "capacity",
        "claimed",
        "exclusive_class",
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("ssd__backend")


class ReplicaInline(ReadOnlyInline):
    """Replicas of a volume."""

    backend_link = link_column("backend")
    wait = wait_column()
    pending_reason = text_column(replica_row_pending_reason, "waits for")
    model = Replica
    fields = [
        "uuid",
        "backend_link",
        "replica_state",
        "replica_state_since",
        "shown_pieces",
        "state",
        "wait",
        "pending_reason",
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request).select_related("backend", "volume")
        pieces = Prefetch("sub_volumes", SubVolume.objects.select_related("ssd"))
        return rows.prefetch_related(pieces, "exports")

    @admin.display(description="on SSDs")
    def shown_pieces(self, replica: Replica) -> str:
        pieces = replica.sub_volumes.all()
        return ", ".join(f"{piece.ssd.ssd_id}: {size(piece.claimed_bytes)}" for piece in pieces)


class SnapshotInline(ReadOnlyInline):
    """Snapshots of a volume."""

    capacity = size_column("capacity_bytes", "capacity")
    claimed = size_column("claimed_bytes", "claimed")
    wait = wait_column()
    model = Snapshot
    fields = ["alias", "uuid", "capacity", "claimed", "created_at", "state", "wait"]


class PublicationInline(ReadOnlyInline):
    """Publications of a volume."""

    host_link = link_column("host")
    wait = wait_column()
    model = Publication
    fields = ["host_link", "state", "wait"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("host")


class ExportInline(ReadOnlyInline):
    """Exports of a publication."""

    replica_link = link_column("replica")
    wait = wait_column()
    model = Export
    fields = ["replica_link", "nsid", "target_nqn", "host_nqn", "state", "wait"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("replica")
