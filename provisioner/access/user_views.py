"""``/revoked_tokens`` and ``/users``: who may call the API (an extension of the reference)."""

from typing import Any, ClassVar

from django.contrib.auth import get_user_model
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from provisioner.access.models import RevokedToken, UserTenant
from provisioner.access.principals import Role
from provisioner.access.revocation import token_revoke
from provisioner.access.tokens import TokenRefused, token_or_id_identify
from provisioner.access.views import ApiViewSet
from provisioner.common.api import success
from provisioner.common.endpoint_spec import Operation, Output
from provisioner.common.moment import one_moment
from provisioner.common.parsing import Input, parse_body
from provisioner.common.results import InvalidInput
from provisioner.common.times import iso_milliseconds

HIDDEN = "..."
"""Stands for the value in an error: it may be a token that is valid."""


class RevokeInput(Input):
    token = serializers.CharField(
        max_length=8192, help_text="the token, or its id (the claim `jti`)"
    )


class RevokedTokenOutput(Output):
    example: ClassVar = {
        "tokenId": "0d5c1f6f8e7b4b6c9d0a1b2c3d4e5f60",
        "revokedAt": "2026-11-23T13:00:00.000",
        "expirationDate": "2026-12-23T13:00:00.000+0000",
    }
    tokenId = serializers.CharField(help_text="The claim `jti` of the token.")
    revokedAt = serializers.CharField(help_text="yyyy-MM-dd'T'HH:mm:ss.SSS, UTC")
    expirationDate = serializers.CharField(
        help_text="The token expires then, and is no longer listed."
    )


class UserOutput(Output):
    example: ClassVar = {
        "name": "grafana",
        "roles": ["MONITOR"],
        "isActive": True,
        "isSuperuser": False,
    }
    name = serializers.CharField()
    roles = serializers.ListField(child=serializers.ChoiceField(list(Role)))
    tenantId = serializers.CharField(
        required=False,
        help_text="The tenant whose objects the user can access; absent: all tenants.",
    )
    isActive = serializers.BooleanField(help_text="False: the user and its tokens are refused.")
    isSuperuser = serializers.BooleanField(help_text="A superuser may do everything.")


class RevokedTokensViewSet(ApiViewSet):
    """Lists revoked tokens that have not expired, and revokes tokens. Issued tokens are not
    stored.
    """

    resource = "revoked_tokens"
    allowed_while_barred = True
    operations: ClassVar = {
        "list": Operation("Get Revoked Tokens", answer=[RevokedTokenOutput], extension=True),
        "create": Operation(
            "Revoke Token",
            body=RevokeInput,
            example={"token": "0d5c1f6f8e7b4b6c9d0a1b2c3d4e5f60"},
            extension=True,
        ),
    }

    def list(self, request: Request) -> Response:
        rows = RevokedToken.objects.order_by("revoked_at", "pk")
        return Response(
            [
                {
                    "tokenId": row.token_id,
                    "revokedAt": iso_milliseconds(row.revoked_at),
                    "expirationDate": f"{iso_milliseconds(row.expires_at)}+0000",
                }
                for row in rows
            ]
        )

    def create(self, request: Request) -> Response:
        """:raises InvalidInput: the text is neither a valid token nor an id."""
        try:
            token_id, expires_at = token_or_id_identify(parse_body(RevokeInput, request)["token"])
        except TokenRefused as error:
            raise InvalidInput.of("token", HIDDEN, str(error)) from error
        token_revoke(token_id=token_id, expires_at=expires_at)
        return success()


class UsersViewSet(ApiViewSet):
    """Lists the local users. ``manage.py user_create`` and the console create them."""

    resource = "users"
    operations: ClassVar = {"list": Operation("Get Users", answer=[UserOutput], extension=True)}

    @one_moment()
    def list(self, request: Request) -> Response:
        users = get_user_model().objects.order_by("username").prefetch_related("groups")
        tenants = dict(UserTenant.objects.values_list("user__username", "tenant_id"))
        return Response([_user_json(user, tenants.get(user.username)) for user in users])


def _user_json(user: Any, tenant_id: str | None) -> dict[str, Any]:
    groups = {group.name for group in user.groups.all()}
    shown = {
        "name": user.username,
        "roles": [role for role in Role if role in groups],
        "isActive": user.is_active,
        "isSuperuser": user.is_superuser,
    }
    return shown | ({"tenantId": tenant_id} if tenant_id and not user.is_superuser else {})
