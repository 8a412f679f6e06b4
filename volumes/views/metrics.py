"""``GET /metrics``."""

import os
from tempfile import SpooledTemporaryFile
from typing import ClassVar
from wsgiref.util import FileWrapper

from django.conf import settings
from django.http import StreamingHttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from rest_framework.request import Request

from provisioner.access.concurrency import others_work
from provisioner.access.views import ApiViewSet
from provisioner.common.endpoint_spec import Operation
from provisioner.common.long_lists import paused
from provisioner.common.moment import one_moment
from volumes.metrics.pool import PoolCollector
from volumes.metrics.volumes import volume_metrics

MEMORY_BYTES = 2**20
"""The number of bytes of a scrape that are kept in memory. The rest is written to a temporary file.
"""
CHUNK_BYTES = 2**16
GIVES_WAY = 1.0
"""While others work, the text is written half of the time: a scrape has ten seconds."""


class MetricsViewSet(ApiViewSet):
    """Reference, "Get Metrics": metrics of the pool, from the database, and counters of this
    server.
    """

    resource: ClassVar[str] = "metrics"
    operations: ClassVar = {"list": Operation("Get Metrics", media="text/plain")}
    open_to_all: ClassVar[bool] = settings.ENVIRONMENT.metrics_open

    def list(self, request: Request) -> StreamingHttpResponse:
        text = SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115 - the response closes it
        text.write(generate_latest(_processes()))
        with one_moment():  # all is read first, so that a slow client does not prolong it
            text.write(generate_latest(PoolCollector()))
            for lines in paused(volume_metrics(), self._others_work, GIVES_WAY):
                text.write(lines)  # writelines() would keep all of them in memory until its end
        text.seek(0)
        return StreamingHttpResponse(
            FileWrapper(text, CHUNK_BYTES), content_type=CONTENT_TYPE_LATEST
        )

    def _others_work(self) -> bool:
        return others_work(mine=0 if self.open_to_all else 1)


def _processes() -> CollectorRegistry:
    """The counters of all API processes of this server, if they share a directory for them."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
