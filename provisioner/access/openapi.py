"""How the OpenAPI schema describes our authenticators. Importing it registers them."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class BasicScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call] # untyped base
    target_class = "provisioner.access.authentication.BasicAuthentication"
    name = "basic"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "basic", "description": "A local user."}


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call] # untyped base
    target_class = "provisioner.access.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A token of POST /token.",
        }
