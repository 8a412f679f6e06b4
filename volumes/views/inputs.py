"""Input of requests about tenants, volumes and publications."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from provisioner.common.fields import AnyCase
from provisioner.common.pagination import PageInput
from provisioner.common.parsing import Alias, Identifier, Input, Whole
from provisioner.common.paths import first_segments
from volumes.health import Health
from volumes.models import Protocol, ProvisioningType
from volumes.services.volume.create import MOST_REPLICAS_AT_CREATION, VolumeRequest
from volumes.sizing import MAX_GIB
from volumes.views.presentation import BLOCK_SIZES

MOST_NAMES = 1000
INT32_MAX = 2**31 - 1


class Names(serializers.ListField):
    child = serializers.CharField(max_length=255)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MOST_NAMES, **kwargs)


@extend_schema_field({"type": "integer", "minimum": 1, "maximum": MOST_REPLICAS_AT_CREATION})
class NumberOfReplicas(Whole):
    """The service refuses wrong numbers, with a code of their own."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=-INT32_MAX, **kwargs)


class StorageClassInput(Input):
    """Reference, "Create Volume", and additional fields that clients of release 3.22 send."""

    extensions = ("replicable",)
    sameRackAllowed = serializers.BooleanField(required=False, source="same_rack_allowed")
    numReplicas = NumberOfReplicas(required=False, source="num_replicas")
    replicable = serializers.BooleanField(required=False)
    racks = Names(required=False)
    zones = Names(required=False)
    regions = Names(required=False)
    maxIOPSPerGB = Whole(required=False, source="max_iops_per_gb")
    desiredIOPSPerGB = Whole(required=False, source="desired_iops_per_gb")
    maxBWPerGB = Whole(required=False, source="max_bw_per_gb")
    desiredBWPerGB = Whole(required=False, source="desired_bw_per_gb")
    blockSize = serializers.ChoiceField(
        list(BLOCK_SIZES),
        required=False,
        source="block_size",
        error_messages={"invalid_choice": "must be one of 512, 4096"},
    )
    maxReplicaDownTime = Whole(
        required=False, max_value=INT32_MAX, source="max_replica_down_minutes"
    )
    name = serializers.CharField(
        required=False, allow_blank=True, max_length=255, source="storage_class_name"
    )
    shareSSDBetweenVolumes = serializers.BooleanField(required=False, source="share_ssd")
    hostId = Identifier(required=False, allow_blank=True, source="host_id")
    allowSpan = serializers.BooleanField(required=False, source="allow_span")


class VolumeInput(Input):
    """Reference, "Create Volume"."""

    alias = Alias()
    capacity = Whole(min_value=1, max_value=MAX_GIB, source="capacity_gib")
    uuid = Identifier(required=False)
    provisioningType = AnyCase(ProvisioningType, required=False, source="provisioning_type")
    reservedSpacePercentage = Whole(
        required=False, max_value=100, source="reserved_space_percentage"
    )
    protocol = AnyCase(Protocol, required=False)
    storageClass = StorageClassInput(required=False, source="storage_class")
    tenantId = Identifier(required=False, source="tenant_id")


def volume_request(fields: dict[str, Any]) -> VolumeRequest:
    """Return the request of a create from its parsed fields."""
    storage_class = dict(fields.pop("storage_class", {}))
    for name in ("racks", "zones", "regions"):
        storage_class[name] = tuple(storage_class.get(name, ()))
    return VolumeRequest(**fields, **storage_class)


class VolumeListInput(PageInput):
    extensions = ("health",)
    hostID = Identifier(required=False, source="host_id")
    backendId = Identifier(required=False, source="backend_id")
    health = AnyCase(Health, required=False)


class DryRunInput(Input):
    extensions = ("dryRun",)
    dryRun = serializers.BooleanField(required=False, default=False)


class GrowInput(Input):
    newCapacity = Whole(min_value=1, max_value=MAX_GIB)


class NewTenantId(Identifier):
    """The id of a new tenant. It must differ from all first segments of the API's paths, because
    paths may begin with the id of a tenant.
    """

    def to_internal_value(self, data: Any) -> str:
        value = str(super().to_internal_value(data))
        if value.lower() in first_segments():
            raise serializers.ValidationError(
                f"is reserved: paths of this server begin with /{value.lower()}"
            )
        return value


class TenantInput(Input):
    """Reference, "Create Tenant"; capacity in GiB, bandwidth in bytes per second."""

    name = serializers.CharField(max_length=255)
    capacity = Whole(max_value=MAX_GIB, source="capacity_gib")
    totalIOPS = Whole(source="total_iops")
    totalBW = Whole(source="total_bw")
    tenantId = NewTenantId(required=False, source="tenant_id")


class TenantBudgetInput(Input):
    """Reference, "Modify Tenant"."""

    capacity = Whole(max_value=MAX_GIB, source="capacity_gib")
    totalIOPS = Whole(source="total_iops")
    totalBW = Whole(source="total_bw")
    tenantId = Identifier(required=False, source="tenant_id")


class PublishInput(Input):
    hostId = Identifier(source="host_id")
    volId = Identifier(source="volume_uuid")


class UnpublishInput(Input):
    hostId = Identifier(required=False, source="host_id")
    volId = Identifier(source="volume_uuid")


class TargetsInput(Input):
    hostId = Identifier(required=False, source="host_id")
    volId = Identifier(required=False, source="volume_id")
