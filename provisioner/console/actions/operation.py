"""Calls operations of the API in this process, for a user of the console.

So parsing, rights, rate limits, idempotency and errors are the same as in the API.
"""

import base64
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from django.urls import resolve
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from provisioner.access.principals import Caller
from provisioner.access.views import ApiViewSet
from provisioner.common import logs
from provisioner.common.parsing import Input
from provisioner.common.results import ResultCode

TRANSPORT_ERROR_PREFIX = "HTTP Status "
"""The prefix of descriptions of transport errors. The console omits it."""


@dataclass(frozen=True)
class Endpoint:
    """The view of an operation, and the name of the action in the view."""

    view: type[ApiViewSet]
    action: str

    @property
    def line(self) -> str:
        """The name of the operation in the table of permissions."""
        return f"{self.view.resource}.{self.action}"

    @property
    def body(self) -> type[Input] | None:
        return self.view.operations[self.action].body

    @property
    def query(self) -> type[Input] | None:
        return self.view.operations[self.action].query


@cache
def endpoint(method: str, path: str) -> Endpoint:
    """Return the endpoint of a method and a path. Ids in the path may be names in braces."""
    handler: Any = resolve(path.format_map(defaultdict(lambda: "x"))).func
    return Endpoint(handler.cls, handler.actions[method.lower()])


@dataclass(frozen=True)
class Answer:
    """The answer of an operation. ``description``: a text for people. For an error, it is the text
    that clients of the API get.
    """

    http: int
    code: str
    description: str
    data: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        return self.code == ResultCode.Success


@dataclass(frozen=True)
class Call:
    """A call of an operation. ``key``: the idempotency key. ``password``: the password of the user,
    if the operation asks for it again.
    """

    method: str
    path: str
    body: Mapping[str, Any]
    query: Mapping[str, Any]
    key: str
    password: str | None = None


class LoggedIn(BaseAuthentication):
    """Authenticates as the user of the console, whose session is already authenticated."""

    def authenticate(self, request: Request) -> tuple[Caller, str]:
        caller: Caller = request._request.console_caller  # type: ignore[attr-defined]
        logs.caller.set(caller.name)
        return caller, "session"


def operation_call(request: HttpRequest, caller: Caller, call: Call) -> Answer:
    """Call the operation as ``caller``, who sent ``request`` to the console. Returns the answer,
    also if it is an error.
    """
    found = resolve(call.path)
    handler: Any = found.func
    inner = _request(request, caller, call)
    if call.password is None:
        inner.console_caller = caller  # type: ignore[attr-defined]
        handler = handler.cls.as_view(handler.actions, authentication_classes=[LoggedIn])
    response = handler(inner, *found.args, **found.kwargs)
    return _answer(response.status_code, response.data)


def _request(outer: HttpRequest, caller: Caller, call: Call) -> WSGIRequest:
    content = json.dumps(call.body).encode()
    environ = {
        **{name: outer.META[name] for name in _COPIED_NAMES if name in outer.META},
        "REQUEST_METHOD": call.method,
        "PATH_INFO": call.path,
        "QUERY_STRING": urlencode(call.query),
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(content)),
        "HTTP_IDEMPOTENCY_KEY": call.key,
        "wsgi.input": BytesIO(content),
    }
    if call.password is not None:
        credentials = f"{caller.name}:{call.password}".encode()
        environ["HTTP_AUTHORIZATION"] = f"Basic {base64.b64encode(credentials).decode()}"
    return WSGIRequest(environ)


_COPIED_NAMES = ("REMOTE_ADDR", "SERVER_NAME", "SERVER_PORT", "HTTP_HOST", "wsgi.url_scheme")


def _answer(status: int, data: Any) -> Answer:
    fields = data if isinstance(data, dict) else {}
    text = str(fields.get("description", ""))
    if text.startswith(TRANSPORT_ERROR_PREFIX):
        text = text.partition(" - ")[2]
    code = str(fields.get("status", ""))
    return Answer(status, code, text or HTTPStatus(status).phrase, fields)
