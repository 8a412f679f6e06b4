"""``GET /healthz`` and ``GET /readyz`` for load balancers and supervisors."""

import contextvars
import logging
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import ClassVar

from django.conf import settings
from django.db import connection
from kombu import Connection
from rest_framework.request import Request
from rest_framework.response import Response

from provisioner.access.views import ApiViewSet
from provisioner.common.api import success, transport_envelope
from provisioner.common.operations import Operation

log = logging.getLogger(__name__)

CHECK_SECONDS = 2.0

_stopping = threading.Event()


def stop_serving() -> None:
    """From now on this process is not ready; for gunicorn's hook that runs as a worker ends."""
    _stopping.set()


class HealthzViewSet(ApiViewSet):
    """The process lives."""

    resource = "healthz"
    open_to_all = True
    operations: ClassVar = {"list": Operation("Is the process alive", extension=True)}

    def list(self, request: Request) -> Response:
        return success()


class ReadyzViewSet(ApiViewSet):
    """Database and broker answer, each within 2 s, and the process is not being stopped."""

    resource = "readyz"
    open_to_all = True
    operations: ClassVar = {"list": Operation("Can it serve", extension=True)}

    def list(self, request: Request) -> Response:
        missing = [name for name, check in CHECKS.items() if not _passes(name, check)]
        if _stopping.is_set():
            missing.append("this process is being stopped")
        if not missing:
            return success()
        status = HTTPStatus.SERVICE_UNAVAILABLE
        return Response(transport_envelope(status, "; ".join(missing)), status=status)


def _ask_database() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connection.close()


def _ask_broker() -> None:
    """The connection is made as Celery makes its own, which pings; the in-memory one always is."""
    with Connection(
        settings.CELERY_BROKER_URL, transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS
    ) as broker:
        broker.default_channel  # noqa: B018 - opening the channel is the ping


CHECKS: dict[str, Callable[[], None]] = {
    "the database does not answer": _ask_database,
    "the broker does not answer": _ask_broker,
}
"""What must work, by what is said when it does not."""


def _passes(name: str, check: Callable[[], None]) -> bool:
    passed = threading.Event()

    def run() -> None:
        try:
            check()
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer is "not ready"
            log.warning(name, extra={"reason": f"{type(error).__name__}: {error}"})
        else:
            passed.set()

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), daemon=True)
    thread.start()
    thread.join(CHECK_SECONDS)
    return passed.is_set()
