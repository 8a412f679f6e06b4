"""``POST /probe`` (reference, "Probe")."""

from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from inventory.services.node_settings import node_settings
from inventory.services.probe import ProbeReport, backend_probe
from provisioner.access.views import ApiViewSet
from provisioner.common.api import success
from provisioner.common.parsing import Identifier, Input, Whole, parse_body


class ProvisionerInput(Input):
    """What the node thinks its provisioner is; the answer puts it right, so nothing is demanded."""

    inUse = serializers.BooleanField(required=False)
    pushInterval = Whole(required=False)
    url = serializers.CharField(required=False, allow_blank=True)
    tags = serializers.ListField(required=False)


class ProbeInput(Input):
    """All that the reference calls mandatory, and the extension ``bootId`` of our own agent."""

    persistentID = Identifier()
    availableCapacity = Whole()
    totalCapacity = Whole()
    usedBW = Whole()
    totalBW = Whole()
    usedIOPS = Whole()
    totalIOPS = Whole()
    mgmtIPs = serializers.JSONField()
    mgmtPort = Whole()
    provisioner = ProvisionerInput()
    version = serializers.CharField(max_length=64)
    numberOfSSDs = Whole()
    certified = serializers.BooleanField()
    targetDriverVersion = serializers.CharField(max_length=64)
    changes = Whole()
    authenticationMode = serializers.CharField(max_length=16)
    bootId = serializers.CharField(required=False, allow_blank=True, max_length=64)


class ProbeViewSet(ApiViewSet):
    """A node may speak for itself only; an administrator for any node."""

    resource = "probe"

    def create(self, request: Request) -> Response:
        fields = parse_body(ProbeInput, request)
        if not self.caller.speaks_for(fields["persistentID"]):
            raise PermissionDenied(f"this token is not of node {fields['persistentID']!r}")
        backend = backend_probe(
            report=ProbeReport(
                persistent_id=fields["persistentID"],
                version=fields["version"],
                target_driver_version=fields["targetDriverVersion"],
                certified=fields["certified"],
                authentication_mode=fields["authenticationMode"],
                total_iops=fields["totalIOPS"],
                total_bw=fields["totalBW"],
                total_capacity=fields["totalCapacity"],
                number_of_ssds=fields["numberOfSSDs"],
                changes=fields["changes"],
                boot_id=fields.get("bootId"),
            )
        )
        settings = node_settings(backend).model_dump(
            exclude={"token", "ca_certificate"}, exclude_none=True
        )
        return success(provisioner=settings)
