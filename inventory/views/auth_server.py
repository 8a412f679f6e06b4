"""``/auth_server`` (reference, "Authorization Server Config API's")."""

from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inventory.services.authorization import authorization_server_delete, authorization_server_set
from inventory.views.outputs import AUTH_SERVER, AuthServerOutput
from provisioner.access.authorization_server import (
    OidcClient,
    OidcServer,
    authorization_server_get,
)
from provisioner.access.signing_keys import public_key
from provisioner.access.views import ApiViewSet
from provisioner.common.api import success
from provisioner.common.endpoint_spec import Operation
from provisioner.common.parsing import Input, parse_body

PUBLIC_KEY, JWK_SET = "authorizationServerPublicKey", "authorizationServerJwkSetURL"


def _web_address(value: str) -> None:
    parts = urlsplit(value)  # the ValueError of a malformed one is the field's own error
    schemes = {"https", "http"} if settings.ENVIRONMENT.auth_server_http else {"https"}
    wrong = parts.scheme not in schemes or not parts.hostname or "@" in parts.netloc
    if wrong or parts.port == 0 or not value.isascii() or not value.isprintable() or " " in value:
        raise serializers.ValidationError(
            "must be an https URL with a host, and without user and password"
        )


def _checked(rule: Callable[[str], object]) -> Callable[[str], None]:
    """A validator for a rule that raises ValueError."""

    def validate(value: str) -> None:
        try:
            rule(value)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from error

    return validate


def _text(length: int, **options: Any) -> serializers.CharField:
    return serializers.CharField(max_length=length, **options)


def _optional(length: int, **options: Any) -> serializers.CharField:
    return _text(length, required=False, allow_blank=True, default="", **options)


class AuthServerInput(Input):
    """The fields of the reference and, as extensions, the issuer and audience that tokens must
    have.
    """

    extensions = ("authorizationServerIssuer", "authorizationServerAudience")
    authorizationServerTokenURL = _text(2048, validators=[_checked(_web_address)])
    authorizationServerPublicKey = _optional(16_384, validators=[_checked(public_key)])
    authorizationServerJwkSetURL = _optional(2048, validators=[_checked(_web_address)])
    authorizationServerIssuer = _optional(2048)
    authorizationServerAudience = _optional(2048)
    provisionerResourceID = _text(255)
    provisionerClientID = _text(255)
    provisionerClientSecret = _text(2048, trim_whitespace=False)
    provisionerClientScope = _optional(1024)
    backendsResourceID = _text(255)
    backendsClientID = _text(255)
    backendsClientSecret = _text(2048, trim_whitespace=False)
    backendsClientScope = _optional(1024)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if bool(attrs[PUBLIC_KEY]) == bool(attrs[JWK_SET]):
            rule = f"exactly one of this field and {JWK_SET} must be given"
            raise serializers.ValidationError({PUBLIC_KEY: rule})
        return attrs


class AuthServerViewSet(ApiViewSet):
    """The authorization server. The answer is ``{}`` if there is none."""

    resource = "auth_server"
    operations: ClassVar = {
        "list": Operation("Get Authorization Server", answer=AuthServerOutput),
        "create": Operation(
            "Set Authorization Server",
            "CreateProvisionerClientTokenFailed CreateBackendsClientTokenFailed "
            "DecryptProvisionerClientTokenFailed DecryptBackendsClientTokenFailed "
            "ProvisionerClientUnauthorized BackendsClientUnauthorized NotAvailable NoChange",
            body=AuthServerInput,
            example=AUTH_SERVER,
        ),
        "destroy": Operation("Delete Authorization Server", "InvalidAuthMode NotAvailable"),
    }

    def list(self, request: Request) -> Response:
        server = authorization_server_get()
        return Response(_server_json(server, secrets=self.caller.is_admin) if server else {})

    def create(self, request: Request) -> Response:
        authorization_server_set(server=_server(parse_body(AuthServerInput, request)))
        return success()

    def destroy(self, request: Request) -> Response:
        authorization_server_delete()
        return success()


def _server(fields: dict[str, Any]) -> OidcServer:
    return OidcServer(
        token_url=fields["authorizationServerTokenURL"],
        public_key=fields[PUBLIC_KEY],
        jwk_set_url=fields[JWK_SET],
        issuer=fields["authorizationServerIssuer"],
        audience=fields["authorizationServerAudience"],
        provisioner=_client(fields, "provisioner"),
        backends=_client(fields, "backends"),
    )


def _client(fields: dict[str, Any], name: str) -> OidcClient:
    return OidcClient(
        client_id=fields[f"{name}ClientID"],
        resource_id=fields[f"{name}ResourceID"],
        secret=fields[f"{name}ClientSecret"],
        scope=fields[f"{name}ClientScope"],
    )


def _server_json(server: OidcServer, *, secrets: bool) -> dict[str, str]:
    """Return the server in the format of the reference. Unset fields are omitted, and so are
    secrets unless they are requested.
    """
    fields = {
        "authorizationServerTokenURL": server.token_url,
        PUBLIC_KEY: server.public_key,
        JWK_SET: server.jwk_set_url,
        "authorizationServerIssuer": server.issuer,
        "authorizationServerAudience": server.audience,
    }
    for name, client in (("provisioner", server.provisioner), ("backends", server.backends)):
        fields |= {
            f"{name}ResourceID": client.resource_id,
            f"{name}ClientID": client.client_id,
            f"{name}ClientSecret": client.secret if secrets else "",
            f"{name}ClientScope": client.scope,
        }
    return {name: value for name, value in fields.items() if value}
