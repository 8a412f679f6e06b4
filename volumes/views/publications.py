from typing import ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from provisioner.common.api import success
from provisioner.common.moment import one_moment
from provisioner.common.operations import HOST, Operation
from provisioner.common.parsing import parse_body, parse_query
from volumes.selectors import publications_of_targets
from volumes.services.publications import volume_publish, volume_unpublish
from volumes.views.base import TenantViewSet
from volumes.views.inputs import PublishInput, TargetsInput, UnpublishInput
from volumes.views.outputs import VOLUME, TargetOutput
from volumes.views.presentation import paths_json, targets_json


class PublishViewSet(TenantViewSet):
    """Reference, "Publish"."""

    resource: ClassVar[str] = "publish"
    operations: ClassVar = {
        "create": Operation(
            "Publish",
            "HostNotFound VolumeNotFound PublishFailed AlreadyPublished TenantNotFound "
            "VolumeNotInHost",
            body=PublishInput,
            example={"hostId": HOST, "volId": VOLUME},
            repeatable=True,
        )
    }

    def create(self, request: Request, tenant: str | None = None) -> Response:
        fields = parse_body(PublishInput, request)
        key = self.request_key(fields)
        self.own_host(fields["host_id"])
        volume_publish(tenant_id=self.tenant_scope, request_key=key, **fields)
        return success()


class UnpublishViewSet(TenantViewSet):
    """Reference, "Unpublish"; without ``hostId`` from all hosts."""

    resource: ClassVar[str] = "unpublish"
    operations: ClassVar = {
        "create": Operation(
            "Unpublish",
            "HostNotFound VolumeNotFound UnpublishFailed NotAvailable TenantNotFound "
            "VolumeNotInHost VolumeNotPublished",
            body=UnpublishInput,
            example={"hostId": HOST, "volId": VOLUME},
        )
    }

    def create(self, request: Request, tenant: str | None = None) -> Response:
        fields = parse_body(UnpublishInput, request)
        fields["host_id"] = self.own_host(fields.get("host_id"))
        volume_unpublish(tenant_id=self.tenant_scope, **fields)
        return success()


class TargetsViewSet(TenantViewSet):
    """Reference, "Get Targets"; with both query fields, the paths to the volume."""

    resource: ClassVar[str] = "targets"
    operations: ClassVar = {
        "list": Operation(
            "Get Targets", "TenantNotFound", query=TargetsInput, answer=[TargetOutput]
        )
    }

    @one_moment()
    def list(self, request: Request, tenant: str | None = None) -> Response:
        wanted = {"host_id": None, "volume_id": None} | parse_query(TargetsInput, request)
        self.own_host(wanted["host_id"])
        host = self.caller.host_id
        publications = publications_of_targets(tenant_id=self.tenant_scope, seen_by=host, **wanted)
        if wanted["host_id"] and wanted["volume_id"] and host is None:
            return Response(paths_json(publications, wanted["volume_id"]))
        return Response(targets_json(publications))
