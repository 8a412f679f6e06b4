"""Add and remove replicas, store reports about them, and migrate volumes."""

from typing import ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inventory.views.outputs import TaskIdOutput
from provisioner.common.api import success
from provisioner.common.endpoint_spec import Operation
from provisioner.common.fields import AnyCase
from provisioner.common.parsing import Identifier, Input, parse, parse_body
from volumes.models import ReplicaState
from volumes.services.replica.add import replica_add
from volumes.services.replica.migrate import Handler, volume_migrate
from volumes.services.replica.placement import PlacementConstraints
from volumes.services.replica.remove import replica_confirm, replica_mark, replica_report
from volumes.views.base import TenantViewSet
from volumes.views.inputs import Names
from volumes.views.outputs import REPLICA, VOLUME

REPORTED = (ReplicaState.AVAILABLE, ReplicaState.MISSING, ReplicaState.SYNCHRONIZING)


class ReplicaInput(Input):
    """Reference, "Add Replica"."""

    sameRackAllowed = serializers.BooleanField(required=False, source="same_rack_allowed")
    racks = Names(required=False)
    zones = Names(required=False)
    regions = Names(required=False)


class ReplicaStateInput(Input):
    replicaState = serializers.ChoiceField(
        [state.value for state in REPORTED],
        error_messages={"invalid_choice": f"must be one of {', '.join(REPORTED)}"},
    )


class MigrateInput(Input):
    """Reference, "Migrate Volume", and additional fields that clients of release 3.22 send."""

    extensions = ("destinationBackendId", "migrationHandler")
    volId = Identifier(source="volume_uuid")
    repId = Identifier(required=False, source="replica_uuid")
    destinationBackendId = Identifier(required=False, allow_blank=True, source="destination")
    migrationHandler = AnyCase(
        Handler,
        required=False,
        source="handler",
        help_text="who carries out the migration; absent: the host's agent, or the provisioner if "
        "the host has no agent",
    )


class ReplicasViewSet(TenantViewSet):
    """Reference, "Add Replica" to "Set Replica State"."""

    resource: ClassVar[str] = "replicas"
    operations: ClassVar = {
        "create": Operation(
            "Add Replica",
            "NotExists NotReplicated NoMatchingBackend InvalidReplicas ReplicaTerminating "
            "NoFreeSpace TopologyConstraints NotInUse SameRackNotAllowed NotAvailable "
            "NotEnoughMatchingBackends TenantNotFound TenantCapacityExceeded",
            body=ReplicaInput,
            example={"sameRackAllowed": True, "racks": ["Dev"]},
        ),
        "mark": Operation(
            "Delete Replica",
            "NotExists NotReplicated AllReplicasDown ReplicaTerminating TenantNotFound",
        ),
        "confirm": Operation("Delete Replica Confirm", "NotExists NoTerminating TenantNotFound"),
        "report": Operation(
            "Set Replica State",
            "NotExists NotReplicated ReplicaTerminating TenantNotFound",
            path=ReplicaStateInput,
        ),
    }

    def create(self, request: Request, volume_uuid: str, tenant: str | None = None) -> Response:
        fields = parse_body(ReplicaInput, request)
        lists = {name: tuple(v) for name, v in fields.items() if isinstance(v, list)}
        replica_add(
            volume_uuid=volume_uuid,
            tenant_id=self.scope_of_volume(volume_uuid),
            constraints=PlacementConstraints(**fields | lists),
        )
        return success()

    def mark(
        self, request: Request, volume_uuid: str, replica_uuid: str, tenant: str | None = None
    ) -> Response:
        scope = self.scope_of_volume(volume_uuid)
        replica_mark(volume_uuid=volume_uuid, replica_uuid=replica_uuid, tenant_id=scope)
        return success()

    def confirm(
        self, request: Request, volume_uuid: str, replica_uuid: str, tenant: str | None = None
    ) -> Response:
        scope = self.scope_of_volume(volume_uuid)
        replica_confirm(volume_uuid=volume_uuid, replica_uuid=replica_uuid, tenant_id=scope)
        return success()

    def report(
        self, request: Request, volume_uuid: str, replica_uuid: str, state: str, **_: str
    ) -> Response:
        reported = parse(ReplicaStateInput, {"replicaState": state})["replicaState"]
        replica_report(
            volume_uuid=volume_uuid,
            replica_uuid=replica_uuid,
            state=ReplicaState(reported),
            tenant_id=self.scope_of_volume(volume_uuid),
        )
        return success()


class MigrationsViewSet(TenantViewSet):
    """Reference, "Migrate Volume"."""

    resource: ClassVar[str] = "migrate_volume"
    operations: ClassVar = {
        "create": Operation(
            "Migrate Volume",
            "ReplicaNotFound VolumeNoFound TaskNotFound NotReplicated NotEnoughReplicas "
            "VolumeNotPublished ReplicaTerminating HostNotFound TaskAlreadyRunning "
            "NoBackendToMigrateReplica TenantNotFound VolumePublishedToMultipleHosts",
            body=MigrateInput,
            example={"volId": VOLUME, "repId": REPLICA},
            adds=TaskIdOutput,
        )
    }

    def create(self, request: Request, tenant: str | None = None) -> Response:
        fields = parse_body(MigrateInput, request)
        task = volume_migrate(tenant_id=self.tenant_scope, **fields)
        return success(taskId=task.task_id)
