"""Middleware that does not depend on any app."""

import logging
import re
import time
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.encoding import escape_uri_path

from provisioner.common import logs

log = logging.getLogger("provisioner.request")

Handler = Callable[[HttpRequest], HttpResponse]
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestLog:
    """Gives each request an id, and logs one line for it. The id is the caller's ``X-Request-ID``
    if that is well-formed.

    The line has the path without the query string, and no headers, because those may contain
    secrets. It has the address of the client and, if known, the name of the caller.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        token = logs.request_id.set(request_id)
        logs.caller.set("")
        logs.caller_type.set("caller")
        started = time.monotonic()
        try:
            response = self.get_response(request)
            response["X-Request-ID"] = request_id
            log.info(
                "%s %s %d",
                request.method,
                escape_uri_path(request.path),
                response.status_code,
                extra={
                    "client": request.META.get("REMOTE_ADDR", ""),
                    "milliseconds": round((time.monotonic() - started) * 1000, 1),
                },
            )
            return response
        finally:
            logs.request_id.reset(token)
            logs.caller.set("")


class OptionalTrailingSlash:
    """Makes a trailing slash optional on every path of the API, without a redirect."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(("/admin", "/static")):
            request.path_info = request.path_info.rstrip("/") or "/"
        return self.get_response(request)
