"""The authorization server, without its secrets, and revoked tokens in the administration site."""

from django.contrib import admin

from provisioner.access.models import AuthorizationServer, RevokedToken
from provisioner.common.admin import ReadOnlyAdmin


@admin.register(AuthorizationServer)
class AuthorizationServerAdmin(ReadOnlyAdmin):
    """Whose tokens are accepted. It is set and removed by ``/auth_server``."""

    list_display = ["token_url", "issuer", "audience", "changed_at"]
    fieldsets = [
        (None, {"fields": ["token_url", "jwk_set_url", "public_key", "issuer", "audience"]}),
        (
            "Provisioner client",
            {
                "fields": [
                    "provisioner_client_id",
                    "provisioner_resource_id",
                    "provisioner_client_scope",
                ]
            },
        ),
        (
            "Backends client",
            {"fields": ["backends_client_id", "backends_resource_id", "backends_client_scope"]},
        ),
        ("Life", {"fields": ["changed_at"]}),
    ]


@admin.register(RevokedToken)
class RevokedTokenAdmin(ReadOnlyAdmin):
    """``manage.py token_revoke`` adds them; they go when they have expired."""

    list_display = ["token_id", "revoked_at", "expires_at"]
    search_fields = ["token_id"]
    fields = ["token_id", "revoked_at", "expires_at"]
