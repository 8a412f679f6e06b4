"""``GET /openapi.json``, and how it describes our authenticators."""

from functools import cache
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from provisioner.access.views import ApiViewSet


class OpenApiViewSet(ApiViewSet):
    """The schema of all operations, made once in each process."""

    resource = "openapi"
    open_to_all = True

    @extend_schema(exclude=True)
    def list(self, request: Request) -> Response:
        return Response(_schema())


@cache
def _schema() -> Any:
    return SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call] # untyped library


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
