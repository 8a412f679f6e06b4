"""``GET /openapi.json``, the pages that show it, and the description of our authenticators in
it.
"""

from functools import cache
from typing import Any, ClassVar

from django.http import HttpResponse
from django.shortcuts import render
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from rest_framework.request import Request
from rest_framework.response import Response

from provisioner.access.views import ApiViewSet
from provisioner.common.endpoint_spec import Operation

ONLY_OUR_FILES = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src blob:"
)
"""Content security policy: the pages need no internet and contact no other server."""


class OpenApiViewSet(ApiViewSet):
    """The OpenAPI description of all operations. It is built once in each process."""

    resource = "openapi"
    open_to_all = True
    operations: ClassVar = {
        "list": Operation("This description", media="application/json", extension=True)
    }

    def list(self, request: Request) -> Response:
        return Response(_schema())


@cache
def _schema() -> Any:
    return SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call] # untyped library


class DocumentationViewSet(ApiViewSet):
    """The OpenAPI description as a page of Swagger UI or Redoc, served from local files."""

    resource = "documentation"
    open_to_all = True
    operations: ClassVar = {
        "swagger": Operation("Swagger UI", media="text/html", extension=True),
        "redoc": Operation("Redoc", media="text/html", extension=True),
    }

    def swagger(self, request: Request) -> HttpResponse:
        return _page(request, "documentation/swagger.html")

    def redoc(self, request: Request) -> HttpResponse:
        return _page(request, "documentation/redoc.html")


def _page(request: Request, template: str) -> HttpResponse:
    response = render(request._request, template)
    response["Content-Security-Policy"] = ONLY_OUR_FILES
    return response


class BasicScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call] # untyped library
    target_class = "provisioner.access.authentication.BasicAuthentication"
    name = "basic"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "basic", "description": "A local user."}


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call] # untyped library
    target_class = "provisioner.access.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A token of POST /token, or of the authorization server.",
        }
