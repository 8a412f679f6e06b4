"""Input of requests about snapshots, snapshot volumes and clones."""

from rest_framework import serializers

from provisioner.common.fields import AnyCase
from provisioner.common.parsing import Alias, Identifier, Input, Whole
from volumes.models import Protocol
from volumes.sizing import MAX_GIB


class SnapshotInput(Input):
    """Reference, "Create Snapshot"."""

    alias = Alias()
    volumeID = Identifier(source="volume_uuid")
    snapshotID = Identifier(required=False, source="uuid")
    reservedSpacePercentage = Whole(
        required=False, max_value=100, source="reserved_space_percentage"
    )
    tenantId = Identifier(required=False, source="tenant_id")


class SnapshotVolumeInput(Input):
    """Reference, "Create Snapshot Volume". ``volumeID`` is that of the new volume."""

    alias = Alias()
    snapshotID = Identifier(source="snapshot_uuid")
    volumeID = Identifier(required=False, source="uuid")
    reservedSpacePercentage = Whole(
        required=False, max_value=100, source="reserved_space_percentage"
    )
    writable = serializers.BooleanField(required=False)
    maxIOPSPerGB = Whole(required=False, source="max_iops_per_gb")
    maxBWPerGB = Whole(required=False, source="max_bw_per_gb")
    protocol = AnyCase(Protocol, required=False)
    allowSpan = serializers.BooleanField(required=False, source="allow_span")
    storageClassName = serializers.CharField(
        required=False, allow_blank=True, max_length=255, source="storage_class_name"
    )
    tenantId = Identifier(required=False, source="tenant_id")


class CloneInput(Input):
    """Reference, "Clone Volume"; capacity in GiB."""

    sourceVolumeId = Identifier(source="source_uuid")
    alias = Alias()
    volumeId = Identifier(required=False, source="uuid")
    capacity = Whole(required=False, min_value=1, max_value=MAX_GIB, source="capacity_gib")
    reservedSpacePercentage = Whole(
        required=False, max_value=100, source="reserved_space_percentage"
    )
    tenantId = Identifier(required=False, source="tenant_id")
