"""``POST /probe`` (reference, "Probe")."""

from typing import ClassVar

from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from inventory.services.node.probe import ProbeReport, backend_probe
from inventory.services.node.settings import node_settings
from inventory.views.outputs import ProbeOutput
from provisioner.access.views import ApiViewSet
from provisioner.common.api import success
from provisioner.common.endpoint_spec import NODE, Operation
from provisioner.common.limits import (
    MOST_BYTES_OF_NODE,
    MOST_GENERATION,
    MOST_PER_SECOND,
    MOST_SSDS,
)
from provisioner.common.parsing import Identifier, Input, Whole, parse_body

MOST_TAGS = 64
MOST_ADDRESSES = 64
MOST_MILLISECONDS = 2**48


class NodeTagInput(Input):
    name = serializers.CharField(required=False, allow_blank=True, max_length=255)
    value = serializers.CharField(required=False, allow_blank=True, max_length=4096)


class ProvisionerInput(Input):
    """The provisioner settings that the node has. No field is required, because the answer corrects
    them.
    """

    inUse = serializers.BooleanField(required=False)
    pushInterval = Whole(required=False)
    url = serializers.CharField(required=False, allow_blank=True, max_length=2048)
    tags = serializers.ListField(required=False, child=NodeTagInput(), max_length=MOST_TAGS)


class ProbeInput(Input):
    """All fields that are mandatory in the reference, and extensions that the agent of this project
    sends.
    """

    extensions = ("bootId", "newestGeneration", "sentAt")
    persistentID = Identifier()
    availableCapacity = Whole(max_value=MOST_BYTES_OF_NODE)
    totalCapacity = Whole(max_value=MOST_BYTES_OF_NODE)
    usedBW = Whole(max_value=MOST_PER_SECOND)
    totalBW = Whole(max_value=MOST_PER_SECOND)
    usedIOPS = Whole(max_value=MOST_PER_SECOND)
    totalIOPS = Whole(max_value=MOST_PER_SECOND)
    mgmtIPs = serializers.ListField(
        child=serializers.CharField(max_length=255), max_length=MOST_ADDRESSES
    )
    mgmtPort = Whole()
    provisioner = ProvisionerInput()
    version = serializers.CharField(max_length=64)
    numberOfSSDs = Whole(max_value=MOST_SSDS)
    certified = serializers.BooleanField()
    targetDriverVersion = serializers.CharField(max_length=64)
    changes = Whole()
    authenticationMode = serializers.CharField(max_length=16)
    bootId = serializers.CharField(required=False, allow_blank=True, max_length=64)
    newestGeneration = Whole(required=False, max_value=MOST_GENERATION)
    sentAt = Whole(
        required=False,
        max_value=MOST_MILLISECONDS,
        help_text="milliseconds since 1970, by the node's clock",
    )


PROBE = {
    "persistentID": NODE,
    "availableCapacity": 1920315949046,
    "totalCapacity": 4000315949046,
    "usedBW": 0,
    "totalBW": 1920315949046,
    "usedIOPS": 0,
    "totalIOPS": 348600,
    "mgmtIPs": ["192.0.2.10"],
    "mgmtPort": 443,
    "provisioner": {"inUse": True, "url": "https://192.0.2.1:30100", "pushInterval": 60},
    "version": "3.22",
    "numberOfSSDs": 2,
    "certified": True,
    "targetDriverVersion": "3.22.1b-15757",
    "changes": 0,
    "authenticationMode": "LOCAL",
}


class ProbeViewSet(ApiViewSet):
    """Probes of nodes. A node may send probes for itself only, an administrator for any node."""

    resource = "probe"
    allowed_while_barred = True
    operations: ClassVar = {
        "create": Operation("Probe", "NotExists", body=ProbeInput, example=PROBE, adds=ProbeOutput)
    }

    def create(self, request: Request) -> Response:
        fields = parse_body(ProbeInput, request)
        if not self.caller.speaks_for(fields["persistentID"]):
            raise PermissionDenied(f"this token is not valid for node {fields['persistentID']!r}")
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
                mgmt_ips=tuple(fields["mgmtIPs"]),
                mgmt_port=fields["mgmtPort"],
                boot_id=fields.get("bootId"),
                newest_generation=fields.get("newestGeneration", 0),
                sent_at=fields.get("sentAt", 0),
            )
        )
        settings = node_settings(backend).model_dump(
            exclude={"token", "ca_certificate", "take_over", "newest_generation"}, exclude_none=True
        )
        return success(provisioner=settings)
