import os
from itertools import chain
from typing import ClassVar

from django.conf import settings
from django.http import StreamingHttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from rest_framework.request import Request

from provisioner.access.views import ApiViewSet
from provisioner.common.operations import Operation
from volumes.metrics import PoolCollector
from volumes.volume_metrics import volume_metrics


class MetricsViewSet(ApiViewSet):
    """Reference, "Get Metrics": the pool from the database, and this server's own counters."""

    resource: ClassVar[str] = "metrics"
    operations: ClassVar = {"list": Operation("Get Metrics", media="text/plain")}
    open_to_all: ClassVar[bool] = settings.ENVIRONMENT.metrics_open

    def list(self, request: Request) -> StreamingHttpResponse:
        few = generate_latest(PoolCollector()) + generate_latest(_processes())
        body = chain([few], volume_metrics())
        return StreamingHttpResponse(body, content_type=CONTENT_TYPE_LATEST)


def _processes() -> CollectorRegistry:
    """The counters of all API processes of this server, where they share a folder for them."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
