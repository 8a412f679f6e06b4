"""Answers about the pool (reference, "Inventory Management" and others)."""

from typing import ClassVar

from rest_framework import serializers

from inventory.health import NodeHealth
from inventory.models import ClientType, Liveness
from provisioner.common.endpoint_spec import HOST, NODE, TASK, Output
from tasks.views import TagOutput

AUTH_SERVER = {
    "authorizationServerTokenURL": "https://id.example.com/realms/Dev/protocol/openid-connect/token",
    "authorizationServerJwkSetURL": "https://id.example.com/realms/Dev/protocol/openid-connect/certs",
    "provisionerResourceID": "provisioner",
    "provisionerClientID": "provisioner",
    "provisionerClientSecret": "p-secret",
    "backendsResourceID": "backends",
    "backendsClientID": "backends",
    "backendsClientSecret": "b-secret",
}


class PersistentIdOutput(Output):
    extensions = ("persistentID",)
    persistentID = serializers.CharField()
    example: ClassVar = {"persistentID": NODE}


class PortalOutput(Output):
    ip = serializers.CharField()
    port = serializers.IntegerField()
    transport = serializers.CharField()


def _of_pool(text: str) -> serializers.IntegerField:
    """A number that callers bound to a tenant do not see."""
    help_text = f"{text}; absent for callers bound to a tenant"
    return serializers.IntegerField(required=False, help_text=help_text)


class BackendOutput(Output):
    extensions = ("waitsFor", "health", "healthReason")
    persistentID = serializers.CharField()
    mgmtIPs = serializers.ListField(child=serializers.CharField())
    mgmtPort = serializers.IntegerField()
    rack = serializers.CharField(required=False)
    zone = serializers.CharField(required=False)
    region = serializers.CharField(required=False)
    inUse = serializers.BooleanField()
    state = serializers.ChoiceField(Liveness.choices)
    lastProbTime = serializers.IntegerField(required=False, help_text="ms since the epoch")
    probeInterval = serializers.IntegerField(help_text="seconds")
    version = serializers.CharField()
    targetDriverVersion = serializers.CharField()
    certified = serializers.BooleanField()
    portals = PortalOutput(many=True)
    name = serializers.CharField()
    hostId = serializers.CharField(required=False)
    authenticationMode = serializers.CharField()
    totalCapacity = _of_pool("bytes")
    availableCapacity = _of_pool("bytes")
    numVolumes = _of_pool("replicas on the node")
    totalBW = _of_pool("bytes per second")
    availableBW = _of_pool("bytes per second; may fall below 0")
    totalIOPS = _of_pool("IOPS of the node")
    availableIOPS = _of_pool("may fall below 0")
    numberOfSSDs = _of_pool("SSDs of the node")
    waitsFor = serializers.CharField(
        required=False, help_text="reason why the node is not finished"
    )
    health = serializers.ChoiceField(NodeHealth.choices)
    healthReason = serializers.CharField(
        required=False,
        help_text="the problem (probes of the node, calls to it, its version), and the time since "
        "which it exists",
    )
    example: ClassVar = {
        "persistentID": NODE,
        "mgmtIPs": ["192.0.2.10"],
        "mgmtPort": 443,
        "rack": "Dev1",
        "inUse": True,
        "state": "Available",
        "lastProbTime": 1633005301913,
        "probeInterval": 60,
        "version": "3.22.1b-15757",
        "targetDriverVersion": "3.22.1b-15757",
        "certified": True,
        "portals": [{"ip": "192.0.2.10", "port": 4420, "transport": "TCP_IP"}],
        "name": "KS1",
        "authenticationMode": "LOCAL",
        "totalCapacity": 1099511627776,
        "availableCapacity": 1099511627776,
        "numVolumes": 0,
        "totalBW": 4525654016,
        "availableBW": 4525654016,
        "totalIOPS": 348600,
        "availableIOPS": 348600,
        "numberOfSSDs": 2,
        "health": "Available",
    }


class NodeAuthorizationOutput(Output):
    """The server from which a node gets the tokens for its probes."""

    extensions = ("jwkSetURL", "scope", "caCertificate")
    tokenURL = serializers.CharField()
    clientID = serializers.CharField()
    clientSecret = serializers.CharField()
    resourceID = serializers.CharField()
    publicKey = serializers.CharField()
    jwkSetURL = serializers.CharField()
    scope = serializers.CharField()
    caCertificate = serializers.CharField()


class ProvisionerOutput(Output):
    """The settings that the node must have."""

    name = serializers.CharField()
    url = serializers.CharField()
    pushInterval = serializers.IntegerField(help_text="seconds between probes")
    inUse = serializers.BooleanField()
    tags = TagOutput(many=True, help_text="rack, zone, region, hostId")
    authorizationServer = NodeAuthorizationOutput(required=False)


class ProbeOutput(Output):
    provisioner = ProvisionerOutput()
    example: ClassVar = {
        "provisioner": {
            "name": "provisioner",
            "url": "https://192.0.2.1:30100",
            "pushInterval": 60,
            "inUse": True,
            "tags": [{"name": "rack", "value": "Dev"}],
        }
    }


class InfoOutput(Output):
    extensions = ("health", "healthReason")
    totalFreeSpace = serializers.IntegerField(help_text="bytes on Available backends")
    version = serializers.CharField()
    authenticationMode = serializers.CharField()
    syslogsBackend = serializers.CharField(required=False)
    health = serializers.CharField(
        help_text="worst health in the pool: Faulted, Unknown, Degraded, Rebuilding or Healthy"
    )
    healthReason = serializers.CharField(
        required=False, help_text="numbers of volumes and nodes that are not healthy"
    )
    example: ClassVar = {
        "totalFreeSpace": 1920315949046,
        "version": "1.1",
        "authenticationMode": "JWT",
        "health": "Healthy",
    }


class HostOutput(Output):
    extensions = ("hasAgent",)
    uuid = serializers.CharField()
    name = serializers.CharField()
    nqn = serializers.CharField()
    clientType = serializers.ChoiceField(ClientType.choices)
    state = serializers.ChoiceField(Liveness.choices)
    version = serializers.CharField()
    lastProbTime = serializers.IntegerField(help_text="ms since the epoch")
    duration = serializers.IntegerField(help_text="seconds between probes")
    multipath = serializers.BooleanField()
    usedNamespacesIds = serializers.ListField(child=serializers.IntegerField())
    hasAgent = serializers.BooleanField(help_text="whether an agent on the host replicates")
    example: ClassVar = {
        "uuid": HOST,
        "name": "host1",
        "nqn": f"nqn.2014-08.org.nvmexpress:uuid:{HOST}",
        "clientType": "Openstack",
        "state": "Available",
        "version": "3.22.170",
        "lastProbTime": 1633005301913,
        "duration": 30,
        "multipath": True,
        "usedNamespacesIds": [1, 2],
        "hasAgent": True,
    }


class SampledBackendOutput(Output):
    hardwareId = serializers.CharField(help_text="persistentID")
    version = serializers.CharField()
    state = serializers.CharField()
    numSSDs = serializers.IntegerField()


class ChangeOutput(Output):
    change = serializers.ChoiceField(["NEW", "REMOVED", "MODIFIED", "NONE"])
    tags = TagOutput(many=True)


class SampleOutput(Output):
    timestamp = serializers.IntegerField(help_text="ms since the epoch")
    backends = SampledBackendOutput(many=True)
    changes = ChangeOutput(many=True)


class InventoryOutput(Output):
    """The newest samples. The task ``taskId`` takes the next one."""

    extensions = ("taskId",)
    inventorySamples = SampleOutput(many=True)
    taskId = serializers.CharField()
    example: ClassVar = {
        "inventorySamples": [
            {
                "timestamp": 1576066112110,
                "backends": [
                    {"hardwareId": NODE, "version": "3.22", "state": "AVAILABLE", "numSSDs": 2}
                ],
                "changes": [{"change": "NONE", "tags": []}],
            }
        ],
        "taskId": TASK,
    }


class AuthServerOutput(Output):
    """The authorization server. Unset fields are omitted, and so are secrets unless an ADMIN
    requests them.
    """

    extensions = ("authorizationServerIssuer", "authorizationServerAudience")
    authorizationServerTokenURL = serializers.CharField(required=False)
    authorizationServerPublicKey = serializers.CharField(required=False)
    authorizationServerJwkSetURL = serializers.CharField(required=False)
    authorizationServerIssuer = serializers.CharField(required=False)
    authorizationServerAudience = serializers.CharField(required=False)
    provisionerResourceID = serializers.CharField(required=False)
    provisionerClientID = serializers.CharField(required=False)
    provisionerClientSecret = serializers.CharField(required=False)
    provisionerClientScope = serializers.CharField(required=False)
    backendsResourceID = serializers.CharField(required=False)
    backendsClientID = serializers.CharField(required=False)
    backendsClientSecret = serializers.CharField(required=False)
    backendsClientScope = serializers.CharField(required=False)
    example: ClassVar = AUTH_SERVER


class SyslogOutput(Output):
    id = serializers.IntegerField()
    name = serializers.CharField()
    url = serializers.CharField()
    state = serializers.BooleanField()
    useTls = serializers.BooleanField()
    certFileName = serializers.CharField(required=False)
    example: ClassVar = {
        "id": 1,
        "name": "central",
        "url": "udp://192.0.2.20:514",
        "state": True,
        "useTls": False,
    }


class LicenseOutput(Output):
    type = serializers.CharField()
    expirationDate = serializers.CharField(required=False)
    maxBackends = serializers.IntegerField(required=False, help_text="absent: no limit")
    example: ClassVar = {
        "type": "POC",
        "expirationDate": "2026-12-23T00:00:00.000+0000",
        "maxBackends": 4,
    }


class TaskIdOutput(Output):
    extensions = ("taskId",)
    taskId = serializers.CharField()
    example: ClassVar = {"taskId": TASK}


class ResetOutput(TaskIdOutput):
    id = serializers.IntegerField()
    example: ClassVar = {"id": 1057, "taskId": TASK}
