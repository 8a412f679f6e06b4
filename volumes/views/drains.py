"""Drains and maintenance of nodes. These are extensions of the reference."""

from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from provisioner.access.views import ApiViewSet
from provisioner.common.api import success
from provisioner.common.endpoint_spec import NODE, TASK, Operation, Output
from provisioner.common.moment import one_moment
from provisioner.common.pagination import Page, PageInput
from provisioner.common.parsing import parse_query
from provisioner.common.times import iso_milliseconds
from volumes.services.node.drain import DrainStatus, drain_get, drain_start, drain_stop
from volumes.services.node.maintenance import ACCESS, REDUNDANCY, Maintenance, backend_maintenance
from volumes.views.outputs import REPLICA, VOLUME

LOST = {
    ACCESS: "it has no other good replica on an Available node",
    REDUNDANCY: "its other replicas would stay usable",
}
PAGE: dict[str, Any] = {"query": PageInput, "extension": True}
ONLY_REPLICA = "it has one replica, on this node"


class DrainTaskOutput(Output):
    taskId = serializers.CharField()
    type = serializers.CharField()
    volumeID = serializers.CharField()
    progress = serializers.FloatField(help_text="percent")


class DrainRefusalOutput(Output):
    volumeID = serializers.CharField()
    replicaID = serializers.CharField()
    reason = serializers.CharField()


class DrainOutput(Output):
    persistentID = serializers.CharField()
    startDate = serializers.CharField(help_text="yyyy-MM-dd'T'HH:mm:ss.SSS, UTC")
    done = serializers.BooleanField(help_text="no replica is left on the node")
    replicas = serializers.IntegerField(help_text="replicas on the node when the drain began")
    moved = serializers.IntegerField(
        help_text="replicas that were moved, or deleted by clients, since then"
    )
    moving = serializers.IntegerField()
    left = serializers.IntegerField(
        help_text="replicas on the node, including those that are moving"
    )
    refused = serializers.IntegerField(help_text="replicas that cannot be moved now")
    tasks = DrainTaskOutput(many=True)
    refusals = DrainRefusalOutput(
        many=True,
        help_text="a page of the refused replicas, by the uuid of the volume; they are "
        "retried later",
    )
    waitsFor = serializers.CharField(required=False)
    example: ClassVar = {
        "persistentID": NODE,
        "startDate": "2026-11-23T13:00:00.000",
        "done": False,
        "replicas": 12,
        "moved": 9,
        "moving": 1,
        "left": 3,
        "refused": 1,
        "tasks": [{"taskId": TASK, "type": "ReplicaSync", "volumeID": VOLUME, "progress": 37.5}],
        "refusals": [{"volumeID": VOLUME, "replicaID": REPLICA, "reason": "it has snapshots"}],
        "waitsFor": "its tasks",
    }


class LossOutput(Output):
    volumeID = serializers.CharField()
    alias = serializers.CharField()
    tenantId = serializers.CharField()
    replicaID = serializers.CharField(help_text="the replica on this node")
    loses = serializers.ChoiceField([ACCESS, REDUNDANCY])
    reason = serializers.CharField()


class MaintenanceOutput(Output):
    persistentID = serializers.CharField()
    safe = serializers.BooleanField(help_text="true: no volume would lose access or redundancy")
    accessLost = serializers.IntegerField(help_text="volumes that would lose access")
    redundancyLost = serializers.IntegerField(
        help_text="volumes that would lose one current replica"
    )
    volumes = LossOutput(many=True, help_text="a page of these volumes, by the uuid of the volume")
    example: ClassVar = {
        "persistentID": NODE,
        "safe": False,
        "accessLost": 1,
        "redundancyLost": 0,
        "volumes": [
            {
                "volumeID": VOLUME,
                "alias": "vol1",
                "tenantId": "0",
                "replicaID": VOLUME,
                "loses": ACCESS,
                "reason": ONLY_REPLICA,
            }
        ],
    }


class DrainsViewSet(ApiViewSet):
    """Cordons a node and relocates its replicas by tasks, a few at a time. Refusals are listed and
    retried. DELETE ends the drain, and so does setting ``inUse`` of the backend.
    """

    resource = "drain"
    operations: ClassVar = {
        "create": Operation("Drain Backend", "NotExists", extension=True),
        "retrieve": Operation("Get Drain", "NotExists", answer=DrainOutput, **PAGE),
        "destroy": Operation("Stop Drain", "NotExists", extension=True),
    }

    def create(self, request: Request, persistent_id: str) -> Response:
        drain_start(persistent_id=persistent_id)
        return success()

    @one_moment()
    def retrieve(self, request: Request, persistent_id: str) -> Response:
        page = Page.of(parse_query(PageInput, request))
        return Response(drain_json(drain_get(persistent_id=persistent_id), page))

    def destroy(self, request: Request, persistent_id: str) -> Response:
        drain_stop(persistent_id=persistent_id)
        return success()


class MaintenanceViewSet(ApiViewSet):
    """The volumes that would lose redundancy or access if the node stopped now."""

    resource = "maintenance"
    operations: ClassVar = {
        "retrieve": Operation(
            "Get Maintenance",
            "NotExists",
            query=PageInput,
            answer=MaintenanceOutput,
            extension=True,
        )
    }

    @one_moment()
    def retrieve(self, request: Request, persistent_id: str) -> Response:
        page = Page.of(parse_query(PageInput, request))
        found = backend_maintenance(persistent_id=persistent_id)
        return Response({"persistentID": persistent_id} | maintenance_json(found, page))


def drain_json(status: DrainStatus, page: Page) -> dict[str, Any]:
    drain = status.drain
    fields = {
        "persistentID": drain.backend_id,
        "startDate": iso_milliseconds(drain.started_at),
        "done": not status.left,
        "replicas": drain.replicas_before,
        "moved": status.moved,
        "moving": len(status.tasks),
        "left": status.left,
        "refused": status.refused.count(),
        "tasks": [
            {
                "taskId": task.pk,
                "type": task.type,
                "volumeID": task.volume_id,
                "progress": task.progress,
            }
            for task in status.tasks
        ],
        "refusals": [
            {
                "volumeID": relocation.replica.volume.uuid,
                "replicaID": relocation.replica.uuid,
                "reason": relocation.refusal,
            }
            for relocation in page.cut(status.refused, "replica__volume__uuid")
        ],
    }
    return fields | ({"waitsFor": status.pending_reason} if status.pending_reason else {})


def maintenance_json(found: Maintenance, page: Page) -> dict[str, Any]:
    return {
        "safe": found.safe,
        "accessLost": found.access,
        "redundancyLost": found.redundancy,
        "volumes": [_loss_json(replica) for replica in page.cut(found.replicas, "volume__uuid")],
    }


def _loss_json(replica: Any) -> dict[str, str]:
    volume = replica.volume
    return {
        "volumeID": volume.uuid,
        "alias": volume.alias,
        "tenantId": volume.tenant_id,
        "replicaID": replica.uuid,
        "loses": replica.loses,
        "reason": ONLY_REPLICA if volume.num_replicas == 1 else LOST[replica.loses],
    }
