"""``GET /healthz`` and ``GET /readyz`` for load balancers and supervisors."""

import contextvars
import logging
import threading
from http import HTTPStatus
from typing import ClassVar

from django.db import connection, connections
from rest_framework.request import Request
from rest_framework.response import Response

from provisioner.access.views import ApiViewSet
from provisioner.common.api import success, transport_envelope
from provisioner.common.database import UNREACHABLE, unavailable
from provisioner.common.endpoint_spec import Operation
from provisioner.common.postgresql.base import DatabaseWrapper

log = logging.getLogger(__name__)

CHECK_SECONDS = 2.0

_stopping = threading.Event()


def stop_serving() -> None:
    """Make this process not ready. A hook of gunicorn calls this when a worker stops."""
    _stopping.set()


def is_serving() -> bool:
    """Whether the process serves requests.

    If not, it is being stopped: long answers end early, and their clients continue at another
    process.
    """
    return not _stopping.is_set()


class HealthzViewSet(ApiViewSet):
    """``GET /healthz``: the process is alive."""

    resource = "healthz"
    open_to_all = True
    operations: ClassVar = {"list": Operation("Is the process alive", extension=True)}

    def list(self, request: Request) -> Response:
        return success()


class ReadyzViewSet(ApiViewSet):
    """``GET /readyz``: the database accepts writes within 2 s, and the process is not being
    stopped.

    The broker is not checked. Without it, calls are served and tasks wait in the database.
    """

    resource = "readyz"
    open_to_all = True
    operations: ClassVar = {"list": Operation("Can it serve", extension=True)}

    def list(self, request: Request) -> Response:
        reasons = [_database_answers()]
        if _stopping.is_set():
            reasons.append("this process is being stopped")
        text = "; ".join(reason for reason in reasons if reason)
        if not text:
            return success()
        status = HTTPStatus.SERVICE_UNAVAILABLE
        return Response(transport_envelope(status, text), status=status)


def _database_answers() -> str:
    """Return the reason why the database cannot be used. Waits at most CHECK_SECONDS for an answer.

    Empty: the database can be used. All connections of this process may be in use.
    """
    outcome = [UNREACHABLE]

    def run() -> None:
        try:
            with connection.wrap_database_errors:
                _check()
            outcome[0] = ""
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer is "not ready"
            log.warning(
                "this process is not ready", extra={"reason": f"{type(error).__name__}: {error}"}
            )
            outcome[0] = unavailable(error) or UNREACHABLE
        finally:
            connection.close()

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), daemon=True)
    thread.start()
    thread.join(CHECK_SECONDS)
    return outcome[0]


def _check() -> None:
    wrapper = connections[connection.alias]
    if isinstance(wrapper, DatabaseWrapper):
        wrapper.check()
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
