"""Volumes."""

from dataclasses import replace
from operator import itemgetter
from typing import ClassVar

from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from provisioner.common.api import success
from provisioner.common.endpoint_spec import Operation
from provisioner.common.long_lists import Items, Listing
from provisioner.common.moment import one_moment, read_at_one_moment
from provisioner.common.pagination import Page
from provisioner.common.parsing import parse_body, parse_query
from volumes.health_selectors import volumes_of_health
from volumes.read_models import volume_rows
from volumes.selectors import sub_volumes_of
from volumes.services.publication.sessions import sessions_read
from volumes.services.volume.create import volume_create, volume_dry_run
from volumes.services.volume.delete import volume_delete
from volumes.services.volume.expand import volume_expand
from volumes.views.base import TenantViewSet
from volumes.views.inputs import (
    DryRunInput,
    GrowInput,
    VolumeInput,
    VolumeListInput,
    volume_request,
)
from volumes.views.outputs import VOLUME, VolumeCreatedOutput, VolumeExtendedOutput, VolumeOutput
from volumes.views.presentation import plan_json, volume_extended_json, volumes_json


class VolumesViewSet(TenantViewSet):
    """Reference, "Volume Management"."""

    resource: ClassVar[str] = "volumes"
    operations: ClassVar = {
        "list": Operation(
            "Get Volumes", "TenantNotFound", query=VolumeListInput, answer=[VolumeOutput]
        ),
        "retrieve": Operation("Get Volume", "TenantNotFound", answer=[VolumeOutput]),
        "by_alias": Operation("Get Volume by Alias", "TenantNotFound", answer=[VolumeOutput]),
        "extended": Operation(
            "Get Volume Extended", "TenantNotFound", answer=[VolumeExtendedOutput]
        ),
        "create": Operation(
            "Create Volume",
            "AlreadyExists InvalidReplicas NoMatchingBackend NotEnoughMatchingBackends "
            "NoBackendWithHostIdExists NotAvailable TenantNotFound TenantCapacityExceeded",
            query=DryRunInput,
            body=VolumeInput,
            example={
                "alias": "vol1",
                "uuid": VOLUME,
                "capacity": 10,
                "provisioningType": "THICK",
                "protocol": "NVMeoF",
                "storageClass": {"numReplicas": 2, "blockSize": 4096, "zones": ["Lab"]},
            },
            adds=VolumeCreatedOutput,
            repeatable=True,
        ),
        "update": Operation(
            "Expand Volume",
            "NotExists InvalidSize NoFreeSpace NotAvailable TenantNotFound TenantCapacityExceeded",
            body=GrowInput,
            example={"newCapacity": 20},
            repeatable=True,
        ),
        "destroy": Operation("Delete Volume", "NotExists TenantNotFound VolumeIsInUse"),
    }

    def list(self, request: Request, tenant: str | None = None) -> HttpResponseBase:
        fields = parse_query(VolumeListInput, request)
        backend, host = fields.get("backend_id"), self.own_host(fields.get("host_id"))
        health = fields.get("health")

        def read(page: Page) -> Items:
            wanted = replace(self.volumes, backend_id=backend, host_id=host)
            if not health:
                return volumes_json(wanted.read(page))
            rows = volumes_of_health(wanted.rows(), health)
            return volumes_json(volume_rows(page.cut(rows, "uuid")))

        listing = Listing(read, itemgetter("uuid"), is_one_statement=not health)
        return self.listed(Page.of(fields), listing)

    def retrieve(self, request: Request, volume_uuid: str, tenant: str | None = None) -> Response:
        wanted = replace(self.volumes, uuid=volume_uuid)
        return Response(read_at_one_moment(lambda: volumes_json(wanted.read())))

    def by_alias(self, request: Request, alias: str, tenant: str | None = None) -> Response:
        wanted = replace(self.volumes, alias=alias)
        return Response(read_at_one_moment(lambda: volumes_json(wanted.read())))

    def extended(self, request: Request, volume_uuid: str, tenant: str | None = None) -> Response:
        with one_moment():
            shown = replace(self.volumes, uuid=volume_uuid).read()
            found = [
                (data, replicas, list(sub_volumes_of(volume.id)))
                for data, (volume, replicas) in zip(volumes_json(shown), shown, strict=True)
            ]
        return Response(
            [
                volume_extended_json(data, replicas, sub_volumes, sessions_read(replicas))
                for data, replicas, sub_volumes in found
            ]
        )

    def create(self, request: Request, tenant: str | None = None) -> Response:
        fields = parse_body(VolumeInput, request)
        tenant_id = self.tenant_for_create(fields.pop("tenant_id", None))
        wanted = volume_request(fields)
        if parse_query(DryRunInput, request)["dryRun"]:
            plan = volume_dry_run(tenant_id=tenant_id, request=wanted)
            return success(**plan_json(plan, is_tenants=self.caller.tenant_id is not None))
        volume = volume_create(
            tenant_id=tenant_id, request=wanted, idempotency_digest=self.idempotency_digest(wanted)
        )
        return success(uuid=volume.uuid)

    def update(self, request: Request, volume_uuid: str, tenant: str | None = None) -> Response:
        fields = parse_body(GrowInput, request)
        volume_expand(
            volume_uuid=volume_uuid,
            tenant_id=self.tenant_scope,
            new_gib=fields["newCapacity"],
            idempotency_digest=self.idempotency_digest(fields),
        )
        return success()

    def destroy(self, request: Request, volume_uuid: str, tenant: str | None = None) -> Response:
        volume_delete(volume_uuid=volume_uuid, tenant_id=self.tenant_scope)
        return success()
