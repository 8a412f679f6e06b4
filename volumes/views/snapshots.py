"""Snapshots, snapshot volumes and clones."""

from collections.abc import Callable
from operator import itemgetter
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from provisioner.common.api import success
from provisioner.common.endpoint_spec import Operation
from provisioner.common.long_lists import Listing
from provisioner.common.moment import one_moment
from provisioner.common.pagination import Page, PageInput
from provisioner.common.parsing import parse_body, parse_query
from volumes.models import Snapshot
from volumes.selectors import snapshot_rows
from volumes.services.snapshot.create import SnapshotRequest, snapshot_create
from volumes.services.snapshot.create_volume import (
    SnapshotVolumeRequest,
    snapshot_volume_create,
)
from volumes.services.snapshot.delete import snapshot_delete
from volumes.services.volume.clone import CloneRequest, volume_clone
from volumes.views.base import TenantViewSet
from volumes.views.outputs import SNAPSHOT, VOLUME, MadeOutput, SnapshotOutput
from volumes.views.presentation import snapshot_json
from volumes.views.snapshot_inputs import CloneInput, SnapshotInput, SnapshotVolumeInput


def _lists(summary: str) -> Operation:
    return Operation(summary, "TenantNotFound", query=PageInput, answer=[SnapshotOutput])


class SnapshotsViewSet(TenantViewSet):
    """Reference, "Create Snapshot" to "Get Snapshots by Alias"."""

    resource: ClassVar[str] = "snapshots"
    operations: ClassVar = {
        "list": _lists("Get Snapshots"),
        "by_volume": _lists("Get Snapshots by Volume"),
        "by_alias": _lists("Get Snapshots by Alias"),
        "retrieve": Operation("Get Snapshot", "TenantNotFound", answer=[SnapshotOutput]),
        "create": Operation(
            "Create Snapshot",
            "NotExists AlreadyExists Replicated TenantNotFound TenantCapacityExceeded "
            "NoFreeSpace NotAvailable",
            body=SnapshotInput,
            example={"alias": "snap1", "volumeID": VOLUME, "snapshotID": SNAPSHOT},
            adds=MadeOutput,
            repeatable=True,
        ),
        "destroy": Operation("Delete Snapshot", "NotExists TenantNotFound VolumeIsInUse"),
    }

    def list(self, request: Request, tenant: str | None = None) -> HttpResponseBase:
        return self._page(request, lambda: self.snapshots)

    def by_volume(
        self, request: Request, volume_uuid: str, tenant: str | None = None
    ) -> HttpResponseBase:
        return self._page(request, lambda: self.snapshots.filter(volume__uuid=volume_uuid))

    def by_alias(self, request: Request, alias: str, tenant: str | None = None) -> HttpResponseBase:
        return self._page(request, lambda: self.snapshots.filter(alias=alias))

    @one_moment()
    def retrieve(self, request: Request, snapshot_uuid: str, tenant: str | None = None) -> Response:
        return Response(_shown(self.snapshots.filter(uuid=snapshot_uuid)))

    def _page(self, request: Request, rows: Callable[[], QuerySet[Snapshot]]) -> HttpResponseBase:
        page = Page.of(parse_query(PageInput, request))
        return self.listed(page, Listing.of_rows(rows, _shown, itemgetter("snapshotID")))

    def create(self, request: Request, tenant: str | None = None) -> Response:
        fields = parse_body(SnapshotInput, request)
        scope = self.tenant_scope_of(fields.pop("tenant_id", None))
        wanted = SnapshotRequest(**fields)
        key = self.idempotency_digest(wanted)
        snapshot = snapshot_create(tenant_id=scope, request=wanted, idempotency_digest=key)
        return success(persistentId=snapshot.uuid)

    def destroy(self, request: Request, snapshot_uuid: str, tenant: str | None = None) -> Response:
        snapshot_delete(snapshot_uuid=snapshot_uuid, tenant_id=self.tenant_scope)
        return success()


def _shown(rows: QuerySet[Snapshot]) -> list[dict[str, Any]]:
    return [snapshot_json(snapshot) for snapshot in snapshot_rows(rows)]


class SnapshotVolumesViewSet(TenantViewSet):
    """Reference, "Create Snapshot Volume"."""

    resource: ClassVar[str] = "snapshot_volumes"
    aliases: ClassVar = ("snapshot_volumes",)
    operations: ClassVar = {
        "create": Operation(
            "Create Snapshot Volume",
            "NotExists AlreadyExists TenantNotFound TenantCapacityExceeded NoFreeSpace "
            "NotAvailable",
            body=SnapshotVolumeInput,
            example={"alias": "view1", "snapshotID": SNAPSHOT, "writable": True},
            adds=MadeOutput,
            repeatable=True,
        )
    }

    def create(self, request: Request, tenant: str | None = None) -> Response:
        fields = parse_body(SnapshotVolumeInput, request)
        scope = self.tenant_scope_of(fields.pop("tenant_id", None))
        wanted = SnapshotVolumeRequest(**fields)
        key = self.idempotency_digest(wanted)
        volume = snapshot_volume_create(tenant_id=scope, request=wanted, idempotency_digest=key)
        return success(persistentId=volume.uuid)


class ClonesViewSet(TenantViewSet):
    """Reference, "Clone Volume"."""

    resource: ClassVar[str] = "clone_volume"
    operations: ClassVar = {
        "create": Operation(
            "Clone Volume",
            "NotExists AlreadyExists Replicated InvalidSize TenantNotFound "
            "TenantCapacityExceeded NoFreeSpace NotAvailable",
            body=CloneInput,
            example={"sourceVolumeId": VOLUME, "alias": "clone1", "capacity": 20},
            adds=MadeOutput,
            repeatable=True,
        )
    }

    def create(self, request: Request, tenant: str | None = None) -> Response:
        fields = parse_body(CloneInput, request)
        scope = self.tenant_scope_of(fields.pop("tenant_id", None))
        wanted = CloneRequest(**fields)
        volume = volume_clone(
            tenant_id=scope, request=wanted, idempotency_digest=self.idempotency_digest(wanted)
        )
        return success(persistentId=volume.uuid)
