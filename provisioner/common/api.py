"""The envelope of answers, and the only place that turns errors into answers."""

import logging
import sys
from http import HTTPStatus
from typing import Any

from django.core.exceptions import (
    BadRequest,
    DisallowedHost,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.http import Http404, HttpRequest, JsonResponse, UnreadablePostError
from rest_framework import exceptions
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.response import Response

from provisioner.common.database import unavailable
from provisioner.common.results import ProvisionerError, ResultCode
from provisioner.common.writes import WritesBarred, refusal_of

log = logging.getLogger(__name__)

TRANSPORT_CODES = {
    HTTPStatus.BAD_REQUEST: ResultCode.BadRequest,
    HTTPStatus.UNAUTHORIZED: ResultCode.Unauthorized,
    HTTPStatus.FORBIDDEN: ResultCode.Forbidden,
    HTTPStatus.NOT_FOUND: ResultCode.NotFound,
    HTTPStatus.METHOD_NOT_ALLOWED: ResultCode.MethodNotAllowed,
    HTTPStatus.CONFLICT: ResultCode.Conflict,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ResultCode.PayloadTooLarge,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ResultCode.UnsupportedMediaType,
    HTTPStatus.TOO_MANY_REQUESTS: ResultCode.TooManyRequests,
    HTTPStatus.INTERNAL_SERVER_ERROR: ResultCode.InternalError,
    HTTPStatus.SERVICE_UNAVAILABLE: ResultCode.ServiceUnavailable,
}


class AlwaysJSON(BaseContentNegotiation):
    """Answers with JSON whatever ``Accept`` says, because old clients send many different
    values.
    """

    def select_parser(self, request: Any, parsers: Any) -> Any:
        return next((p for p in parsers if p.accepts(request.content_type)), None)

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


def envelope(code: ResultCode, description: str) -> dict[str, str]:
    """The two fields of an envelope."""
    return {"status": code.value, "description": sendable(description)}


def sendable(text: str) -> str:
    """Return the text with the characters escaped that UTF-8 cannot encode: JSON may contain half
    of a surrogate pair.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def success(**extra: Any) -> Response:
    """The answer of a successful operation; ``extra`` is added to the envelope."""
    return Response(envelope(ResultCode.Success, "Success") | extra)


def transport_envelope(status: HTTPStatus, description: str) -> dict[str, str]:
    """The body of a transport error. Old clients search the text for ``HTTP Status n``."""
    return envelope(TRANSPORT_CODES[status], f"HTTP Status {status.value} - {description}")


def transport_response(status: HTTPStatus, description: str) -> JsonResponse:
    """A transport error from outside of views: from middleware, or from Django itself."""
    return JsonResponse(transport_envelope(status, description), status=status)


def exception_handler(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception handler. It turns every error of a view into the envelope with two fields.

    Expected errors are logged at level info. All other errors are bugs: the log gets a stack trace,
    and the client gets no details.
    """
    error = refusal_of(error) or error
    if isinstance(error, WritesBarred):
        status = HTTPStatus.SERVICE_UNAVAILABLE
        log.warning("writes are barred", extra={"reason": error.description})
        return Response(transport_envelope(status, error.description), status=status)
    if isinstance(error, ProvisionerError):
        log.info(
            "refused",
            extra={"code": error.code.value, "reason": str(error), "internal": error.internal},
        )
        status = HTTPStatus.BAD_REQUEST if error.code is ResultCode.InvalidInput else HTTPStatus.OK
        return Response(envelope(error.code, error.description), status=status)
    status, description = _transport(error)
    response = Response(transport_envelope(status, description), status=status)
    if challenge := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = challenge
    if seconds := getattr(error, "retry_after", None):
        response["Retry-After"] = str(seconds)
    return response


def _transport(error: BaseException | None) -> tuple[HTTPStatus, str]:
    status, description = _classified(error)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("unexpected error", exc_info=error)
    elif status == HTTPStatus.SERVICE_UNAVAILABLE:
        log.warning("database unavailable", extra={"reason": f"{type(error).__name__}: {error}"})
    return status, description


def _classified(error: BaseException | None) -> tuple[HTTPStatus, str]:
    if reason := unavailable(error):
        return HTTPStatus.SERVICE_UNAVAILABLE, f"{reason}; try again"
    match error:
        case exceptions.APIException():
            return HTTPStatus(error.status_code), str(error.detail)
        case SuspiciousOperation() | BadRequest() | UnreadablePostError():
            return _malformed(error)
        case Http404():
            return HTTPStatus.NOT_FOUND, "there is nothing at this path"
        case PermissionDenied():
            return HTTPStatus.FORBIDDEN, str(error) or "not allowed"
        case _:
            return HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; the log has the details"


def _malformed(error: Exception) -> tuple[HTTPStatus, str]:
    match error:
        case RequestDataTooBig():
            return (
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "the body is larger than this server accepts",
            )
        case DisallowedHost():
            return HTTPStatus.BAD_REQUEST, "this server does not answer to that host name"
        case UnreadablePostError():
            return HTTPStatus.BAD_REQUEST, "the body ended too early"
        case _:
            return HTTPStatus.BAD_REQUEST, "the request is malformed"


def bad_request(request: HttpRequest, exception: Exception) -> JsonResponse:
    return transport_response(*_transport(exception))


def forbidden(request: HttpRequest, exception: Exception) -> JsonResponse:
    return transport_response(*_transport(exception))


def not_found(request: HttpRequest, exception: Exception) -> JsonResponse:
    return transport_response(HTTPStatus.NOT_FOUND, f"there is nothing at {request.path[:200]}")


def server_error(request: HttpRequest) -> JsonResponse:
    """Answer errors outside of views, in admin or middleware. Django calls it in an ``except``."""
    return transport_response(*_transport(sys.exception()))
