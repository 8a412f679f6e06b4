"""Paths of this app. Objects of tenants have each path with and without the id of the tenant in
front.
"""

from typing import Any

from django.urls import URLPattern, path
from rest_framework.viewsets import ViewSet

from volumes.views.drains import DrainsViewSet, MaintenanceViewSet
from volumes.views.metrics import MetricsViewSet
from volumes.views.pool import (
    HealthInfoViewSet,
    RemovableBackendViewSet,
    RemovableHostViewSet,
    VolumesHostProbeViewSet,
)
from volumes.views.publications import (
    ConnectViewSet,
    DisconnectViewSet,
    PublishViewSet,
    TargetsViewSet,
    UnpublishViewSet,
)
from volumes.views.replicas import MigrationsViewSet, ReplicasViewSet
from volumes.views.snapshots import (
    ClonesViewSet,
    SnapshotsViewSet,
    SnapshotVolumesViewSet,
)
from volumes.views.tenants import TenantsViewSet
from volumes.views.volumes import VolumesViewSet


def _both(route: str, view: type[ViewSet], actions: Any) -> list[URLPattern]:
    handler: Any = view.as_view(actions)
    return [path(route, handler), path(f"<str:tenant>/{route}", handler)]


VOLUMES: Any = VolumesViewSet.as_view({"get": "list", "post": "create"})
TARGETS: Any = TargetsViewSet.as_view({"get": "list"})
urlpatterns = [
    path("host_probe", VolumesHostProbeViewSet.as_view({"post": "create"})),
    path("volumes", VOLUMES),
    path("targets", TARGETS),
    path("backends", RemovableBackendViewSet.as_view({"get": "list", "post": "create"})),
    path(
        "backends/<str:persistent_id>",
        RemovableBackendViewSet.as_view({"get": "retrieve", "put": "update", "delete": "destroy"}),
    ),
    path(
        "backends/<str:persistent_id>/drain",
        DrainsViewSet.as_view({"get": "retrieve", "post": "create", "delete": "destroy"}),
    ),
    path(
        "backends/<str:persistent_id>/maintenance",
        MaintenanceViewSet.as_view({"get": "retrieve"}),
    ),
    path("info", HealthInfoViewSet.as_view({"get": "list"})),
    path("hosts", RemovableHostViewSet.as_view({"get": "list"})),
    path("hosts/<str:host_id>", RemovableHostViewSet.as_view({"delete": "destroy"})),
    path("tenants", TenantsViewSet.as_view({"get": "list", "post": "create"})),
    path(
        "tenants/<str:tenant_id>",
        TenantsViewSet.as_view({"put": "update", "delete": "destroy"}),
    ),
    path("<str:tenant>/volumes", VOLUMES),
    *_both(
        "volumes/<str:volume_uuid>",
        VolumesViewSet,
        {"get": "retrieve", "patch": "update", "delete": "destroy"},
    ),
    *_both("volumes_by_alias/<str:alias>", VolumesViewSet, {"get": "by_alias"}),
    *_both("volume_extended/<str:volume_uuid>", VolumesViewSet, {"get": "extended"}),
    *_both("replica/<str:volume_uuid>", ReplicasViewSet, {"post": "create"}),
    *_both(
        "replica/<str:volume_uuid>/<str:replica_uuid>",
        ReplicasViewSet,
        {"patch": "mark", "delete": "confirm"},
    ),
    *_both(
        "replica/<str:volume_uuid>/<str:replica_uuid>/<str:state>",
        ReplicasViewSet,
        {"patch": "report"},
    ),
    *_both("connect", ConnectViewSet, {"post": "create"}),
    *_both("disconnect", DisconnectViewSet, {"post": "create"}),
    *_both("migrate_volume", MigrationsViewSet, {"post": "create"}),
    *_both("snapshots", SnapshotsViewSet, {"get": "list", "post": "create"}),
    *_both(
        "snapshots/<str:snapshot_uuid>",
        SnapshotsViewSet,
        {"get": "retrieve", "delete": "destroy"},
    ),
    *_both("snapshots_by_vol/<str:volume_uuid>", SnapshotsViewSet, {"get": "by_volume"}),
    *_both("snapshots_by_alias/<str:alias>", SnapshotsViewSet, {"get": "by_alias"}),
    *_both("snapshot_volume", SnapshotVolumesViewSet, {"post": "create"}),
    *_both("snapshot_volumes", SnapshotVolumesViewSet, {"post": "create"}),
    *_both("clone_volume", ClonesViewSet, {"post": "create"}),
    *_both("publish", PublishViewSet, {"post": "create"}),
    *_both("unpublish", UnpublishViewSet, {"post": "create"}),
    path("metrics", MetricsViewSet.as_view({"get": "list"})),
    path("<str:tenant>/targets", TARGETS),
]
