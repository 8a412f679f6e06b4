"""Publish and unpublish volumes, attach and detach them, and list targets."""

from dataclasses import replace
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from inventory.models import Host
from inventory.views.outputs import TaskIdOutput
from provisioner.common.api import success
from provisioner.common.endpoint_spec import HOST, Operation
from provisioner.common.long_lists import Items, Listing
from provisioner.common.pagination import Page
from provisioner.common.parsing import parse_body, parse_query
from tasks.models import TaskType
from volumes.models import Publication
from volumes.models.publication import NQN_PREFIX
from volumes.read_models import target_rows, targets_read
from volumes.selectors import hosts_with, publications_of_targets
from volumes.services.publication.attach import attachment_ask
from volumes.services.publication.publish import volume_publish, volume_unpublish
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
        key = self.idempotency_digest(fields)
        self.own_host(fields["host_id"])
        volume_publish(tenant_id=self.tenant_scope, idempotency_digest=key, **fields)
        return success()


class UnpublishViewSet(TenantViewSet):
    """Reference, "Unpublish". Without ``hostId``, the volume is unpublished from all hosts."""

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


class ConnectViewSet(TenantViewSet):
    """Extension: ask the host's agent to attach the volume."""

    resource: ClassVar[str] = "connect"
    task_type = TaskType.CONNECT_VOLUME
    operations: ClassVar = {
        "create": Operation(
            "Connect",
            "HostNotFound VolumeNotFound VolumeNotPublished NotAvailable TaskAlreadyRunning "
            "TenantNotFound",
            body=PublishInput,
            example={"hostId": HOST, "volId": VOLUME},
            adds=TaskIdOutput,
            extension=True,
        )
    }

    def create(self, request: Request, tenant: str | None = None) -> Response:
        fields = parse_body(PublishInput, request)
        task = attachment_ask(type=self.task_type, tenant_id=self.tenant_scope, **fields)
        return success(taskId=task.task_id)


class DisconnectViewSet(ConnectViewSet):
    """Extension: ask the host's agent to detach the volume."""

    resource: ClassVar[str] = "disconnect"
    task_type = TaskType.DISCONNECT_VOLUME
    operations: ClassVar = {
        "create": replace(ConnectViewSet.operations["create"], summary="Disconnect")
    }


class TargetsViewSet(TenantViewSet):
    """Reference, "Get Targets". If both query fields are given, Cinder's driver needs one entry for
    each path to the volume, and an agent needs one entry. The token of a host, and the client that
    probed last, tell them apart.
    """

    resource: ClassVar[str] = "targets"
    operations: ClassVar = {
        "list": Operation(
            "Get Targets", "TenantNotFound", query=TargetsInput, answer=[TargetOutput]
        )
    }

    def list(self, request: Request, tenant: str | None = None) -> HttpResponseBase:
        wanted = {"host_id": None, "volume_id": None} | parse_query(TargetsInput, request)
        self.own_host(wanted["host_id"])
        if any(wanted.values()):
            return self._found(wanted)
        host = self.caller.host_id

        def publications() -> QuerySet[Publication]:
            return publications_of_targets(tenant_id=self.tenant_scope, seen_by=host)

        def targets(hosts: QuerySet[Host]) -> Items:
            return targets_json(target_rows(publications().filter(host__in=list(hosts))))

        listing = Listing.of_rows(lambda: hosts_with(publications()), targets, _host_id)
        return self.listed(Page(), listing)

    def _found(self, wanted: dict[str, Any]) -> Response:
        host = self.caller.host_id
        rows = targets_read(tenant_id=self.tenant_scope, seen_by=host, **wanted)
        asks_for_paths = all(wanted.values()) and host is None
        if asks_for_paths and all(row.probed_by_driver for row in rows):
            return Response(paths_json(rows, wanted["volume_id"]))
        return Response(targets_json(rows))


def _host_id(target: dict[str, Any]) -> str:
    return str(target["name"]).removeprefix(NQN_PREFIX)
