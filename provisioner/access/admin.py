"""The authorization server in the administration site; its secrets are not shown there."""

from django.contrib import admin

from provisioner.access.models import AuthorizationServer
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
