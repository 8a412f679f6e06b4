"""Converts HTTP requests to wire types, and results to HTTP answers."""

import hmac
from http import HTTPStatus
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import Generation, Identifier, Nqn, Refusal, RefusalCode

MAX_BODY_BYTES = 2**20
SHOWN_ERRORS = 5

STATUS = {
    RefusalCode.INVALID: HTTPStatus.BAD_REQUEST,
    RefusalCode.UNAUTHORIZED: HTTPStatus.UNAUTHORIZED,
    RefusalCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    RefusalCode.CONFLICT: HTTPStatus.CONFLICT,
    RefusalCode.IN_USE: HTTPStatus.CONFLICT,
    RefusalCode.ID_IN_USE: HTTPStatus.CONFLICT,
    RefusalCode.NO_SPACE: HTTPStatus.CONFLICT,
    RefusalCode.STALE: HTTPStatus.PRECONDITION_FAILED,
    RefusalCode.UNAVAILABLE: HTTPStatus.TOO_EARLY,
}

W = TypeVar("W", bound=BaseModel)

_generation: TypeAdapter[int] = TypeAdapter(Generation)
_names: dict[str, TypeAdapter[str]] = {
    "uuid": TypeAdapter(Identifier),
    "nqn": TypeAdapter(Nqn),
}


def check_token(request: Request) -> None:
    """Check the bearer token in constant time.

    :raises NodeRefused: UNAUTHORIZED: the application has a token, and the request has another one
        or none.
    """
    token = request.app.state.token
    given = request.headers.get("authorization", "")
    if token and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        raise NodeRefused(RefusalCode.UNAUTHORIZED, "the bearer token is wrong or missing")


async def read_body(request: Request, kind: type[W]) -> W:
    """Parse the body as ``kind``.

    :raises NodeRefused: INVALID: the body does not match ``kind``.
    :raises HTTPException: 413: the body is longer than MAX_BODY_BYTES.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            detail = f"the body is longer than {MAX_BODY_BYTES} bytes"
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    try:
        return kind.model_validate_json(bytes(body), strict=True)
    except ValidationError as error:
        raise _invalid(error) from error


def read_name(request: Request, name: str) -> str:
    """The ``uuid`` or ``nqn`` in the path.

    :raises NodeRefused: INVALID
    """
    try:
        return _names[name].validate_python(request.path_params[name])
    except ValidationError as error:
        raise _invalid(error) from error


def read_generation(request: Request) -> int:
    """The generation in the query.

    :raises NodeRefused: INVALID: it is missing, or not a positive number.
    """
    try:
        return _generation.validate_python(request.query_params.get("generation"))
    except ValidationError as error:
        raise _invalid(error) from error


def answer(value: BaseModel) -> Response:
    """200 with the value as JSON."""
    return Response(value.model_dump_json(), media_type="application/json")


def accepted(*, is_new: bool) -> Response:
    """201 if the object is new, else 200; without a body."""
    return Response(status_code=HTTPStatus.CREATED if is_new else HTTPStatus.OK)


def gone() -> Response:
    """204: the object no longer exists."""
    return Response(status_code=HTTPStatus.NO_CONTENT)


def refusal(code: RefusalCode, message: str, *, status: int | None = None) -> Response:
    """Return an answer with the refusal. ``status`` replaces the usual HTTP status of the code."""
    status = status or STATUS[code]
    headers = {"Connection": "close"} if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else None
    body = Refusal(code=code, message=message).model_dump_json()
    return Response(body, status, headers, media_type="application/json")


def _invalid(error: ValidationError) -> NodeRefused:
    found = error.errors(include_input=False, include_url=False, include_context=False)
    texts = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found[:SHOWN_ERRORS]]
    return NodeRefused(RefusalCode.INVALID, "; ".join(texts))
