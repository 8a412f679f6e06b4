"""Output of requests about tenants, volumes, snapshots and targets."""

from typing import ClassVar

from rest_framework import serializers

from provisioner.common.endpoint_spec import HOST, NODE, Output
from volumes.health import Health
from volumes.models import Protocol, ProvisioningType, ReplicaState
from volumes.views.presentation import BLOCK_SIZES

VOLUME = "3f1d2c5a-0f4e-4b7c-9a58-6a3c9c1e7d10"
REPLICA = "9b2f7c1e-5d3a-4c88-8f0e-2f6f1b7a4d21"
SNAPSHOT = "b6f0b1de-8a43-4a0c-9d0b-0a4f9d8f6a55"


class BackendRef(Output):
    persistentID = serializers.CharField(help_text="empty: the backend was removed by force")


class SubVolumeOutput(Output):
    capacity = serializers.IntegerField(help_text="bytes")
    ssdID = serializers.CharField()
    ssdName = serializers.CharField()


class SessionOutput(Output):
    hostID = serializers.CharField()


class LocationOutput(Output):
    extensions = ("waitsFor",)
    uuid = serializers.CharField()
    backend = BackendRef()
    replicaState = serializers.ChoiceField(ReplicaState.choices)
    currentStateTime = serializers.IntegerField(help_text="milliseconds")
    inUse = serializers.BooleanField()
    waitsFor = serializers.CharField(
        required=False, help_text="reason why the object is not finished"
    )


class LocationExtendedOutput(LocationOutput):
    subVolumes = SubVolumeOutput(many=True)
    sessions = SessionOutput(many=True, required=False)


class VolumeOutput(Output):
    extensions = (
        "replicable",
        "waitsFor",
        "health",
        "healthReason",
        "rebuildProgress",
        "rebuildSecondsLeft",
    )
    alias = serializers.CharField()
    uuid = serializers.CharField()
    capacity = serializers.IntegerField(help_text="bytes")
    provisioningType = serializers.ChoiceField([*ProvisioningType.values, "OTHER"])
    numReplicas = serializers.IntegerField()
    replicable = serializers.BooleanField()
    maxIOPS = serializers.IntegerField()
    desiredIOPS = serializers.IntegerField()
    maxBW = serializers.IntegerField(help_text="bytes per second")
    desiredBW = serializers.IntegerField(help_text="bytes per second")
    blockSize = serializers.ChoiceField(list(BLOCK_SIZES.values()))
    maxReplicaDownTime = serializers.IntegerField(help_text="minutes; 0: off")
    location = LocationOutput(many=True)
    tenantId = serializers.CharField()
    protocol = serializers.ChoiceField(Protocol.choices)
    allowSpan = serializers.BooleanField()
    shareSSDBetweenVolumes = serializers.BooleanField()
    inUse = serializers.BooleanField()
    storageClassName = serializers.CharField(required=False)
    reservedSpace = serializers.IntegerField(required=False, help_text="bytes")
    snapshotID = serializers.CharField(required=False)
    writable = serializers.BooleanField(required=False)
    waitsFor = serializers.CharField(
        required=False, help_text="reason why the object is not finished"
    )
    health = serializers.ChoiceField(Health.choices)
    healthReason = serializers.CharField(
        required=False, help_text="number of current replicas, and the condition of the others"
    )
    rebuildProgress = serializers.FloatField(
        required=False, help_text="progress of the task that rebuilds a replica, in percent"
    )
    rebuildSecondsLeft = serializers.IntegerField(
        required=False, help_text="remaining time at the present rate, if the rate is known"
    )
    example: ClassVar = {
        "alias": "vol1",
        "uuid": VOLUME,
        "capacity": 10737418240,
        "provisioningType": "THICK",
        "numReplicas": 1,
        "replicable": False,
        "maxIOPS": 0,
        "desiredIOPS": 0,
        "maxBW": 0,
        "desiredBW": 0,
        "blockSize": "4KB",
        "maxReplicaDownTime": 0,
        "location": [
            {
                "uuid": VOLUME,
                "backend": {"persistentID": NODE},
                "replicaState": "Available",
                "currentStateTime": 60000,
                "inUse": True,
            }
        ],
        "tenantId": "0",
        "protocol": "NVMeoF",
        "allowSpan": False,
        "shareSSDBetweenVolumes": True,
        "inUse": True,
        "health": "Healthy",
    }


class VolumeExtendedOutput(VolumeOutput):
    location = LocationExtendedOutput(many=True)
    example: ClassVar = VolumeOutput.example | {
        "location": [
            VolumeOutput.example["location"][0]
            | {
                "subVolumes": [{"capacity": 10737418240, "ssdID": "S1", "ssdName": "nvme0"}],
                "sessions": [{"hostID": HOST}],
            }
        ]
    }


class PlannedPieceOutput(Output):
    ssdID = serializers.CharField()
    capacity = serializers.IntegerField(help_text="bytes")
    reservedSpace = serializers.IntegerField(help_text="bytes")


class PlannedReplicaOutput(Output):
    backend = BackendRef()
    subVolumes = PlannedPieceOutput(many=True)


class RefusalOutput(Output):
    backend = BackendRef()
    filter = serializers.CharField()
    reason = serializers.CharField()


class VolumeCreatedOutput(Output):
    """The uuid of the new volume. For a dry run: the nodes that would be chosen, and why the others
    would not.
    """

    extensions = ("chosen", "refused", "explanation")
    uuid = serializers.CharField(required=False)
    chosen = PlannedReplicaOutput(many=True, required=False)
    refused = RefusalOutput(many=True, required=False)
    explanation = serializers.CharField(required=False)
    example: ClassVar = {"uuid": VOLUME}


class SnapshotOutput(Output):
    extensions = ("waitsFor",)
    alias = serializers.CharField()
    volumeID = serializers.CharField()
    snapshotID = serializers.CharField()
    replicaID = serializers.CharField()
    reservedSpacePercentage = serializers.IntegerField()
    reservedSpace = serializers.IntegerField(help_text="bytes")
    capacity = serializers.IntegerField(help_text="bytes")
    timestamp = serializers.IntegerField(help_text="ms since the epoch")
    tenantId = serializers.CharField()
    waitsFor = serializers.CharField(
        required=False, help_text="reason why the object is not finished"
    )
    example: ClassVar = {
        "alias": "snap1",
        "volumeID": VOLUME,
        "snapshotID": SNAPSHOT,
        "replicaID": VOLUME,
        "reservedSpacePercentage": 10,
        "reservedSpace": 21474836480,
        "capacity": 214748364800,
        "timestamp": 1633005301913,
        "tenantId": "0",
    }


class MadeOutput(Output):
    """The uuid of the new object."""

    persistentId = serializers.CharField()
    example: ClassVar = {"persistentId": SNAPSHOT}


class TenantIdOutput(Output):
    tenantId = serializers.CharField()
    example: ClassVar = {"tenantId": "acme"}


class TenantOutput(Output):
    tenantId = serializers.CharField()
    name = serializers.CharField()
    capacity = serializers.IntegerField(help_text="GiB; 0: unlimited")
    totalIOPS = serializers.IntegerField()
    totalBW = serializers.IntegerField(help_text="bytes per second")
    consumedCapacity = serializers.IntegerField(help_text="GiB")
    consumedIOPS = serializers.IntegerField()
    consumedBW = serializers.IntegerField(help_text="bytes per second")
    example: ClassVar = {
        "tenantId": "acme",
        "name": "Acme",
        "capacity": 1000,
        "totalIOPS": 100000,
        "totalBW": 1000000000,
        "consumedCapacity": 10,
        "consumedIOPS": 0,
        "consumedBW": 0,
    }


class TargetOutput(Output):
    """A target. ``backend`` and ``namespaceId`` are set if the entry is a path to one volume."""

    extensions = ("targetName", "backend", "namespaceId")
    name = serializers.CharField(help_text="NQN")
    targetName = serializers.CharField(help_text="NQN")
    alias = serializers.CharField()
    connectedBackends = BackendRef(many=True)
    hostTargetConnectedTo = serializers.CharField()
    numNamespaces = serializers.IntegerField()
    backend = BackendRef(required=False)
    namespaceId = serializers.IntegerField(required=False)
    example: ClassVar = {
        "name": f"nqn.2022-08.com.kioxia:{HOST}",
        "targetName": f"nqn.2022-08.com.kioxia:{HOST}",
        "alias": "host1",
        "connectedBackends": [{"persistentID": NODE}],
        "hostTargetConnectedTo": "host1",
        "numNamespaces": 1,
    }
