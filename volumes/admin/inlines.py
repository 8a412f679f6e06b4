"""Tables of related rows on console pages."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from provisioner.common.admin import (
    ReadOnlyInline,
    link_column,
    size_column,
    wait_column,
)
from volumes.models import Export, SubVolume


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


class ExportInline(ReadOnlyInline):
    """Exports of a publication."""

    replica_link = link_column("replica")
    wait = wait_column()
    model = Export
    fields = ["replica_link", "nsid", "target_nqn", "host_nqn", "state", "wait"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("replica")
