"""Console pages of the authorization server (without its secrets) and of revoked tokens."""

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from provisioner.access.admin_login import REVOKE
from provisioner.access.models import AuthorizationServer, RevokedToken
from provisioner.access.revocation import token_revoke
from provisioner.access.tokens import TokenRefused, token_or_id_identify
from provisioner.common.admin import ReadOnlyAdmin


@admin.register(AuthorizationServer)
class AuthorizationServerAdmin(ReadOnlyAdmin):
    """The server whose tokens are accepted. ``/auth_server`` sets and removes it."""

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


if TYPE_CHECKING:
    _Form = forms.ModelForm[RevokedToken]
else:
    _Form = forms.ModelForm


class RevokeForm(_Form):
    """Revokes a token. The page never shows the input again: it may be a valid token."""

    token = forms.CharField(
        max_length=8192,
        widget=forms.PasswordInput(attrs={"size": 80, "autocomplete": "off"}),
        help_text="The token, or its id (claim jti). Each process refuses it within 5 s.",
    )

    class Meta:
        model = RevokedToken
        fields: ClassVar[list[str]] = []

    def clean_token(self) -> str:
        try:
            token_id, expires_at = token_or_id_identify(self.cleaned_data["token"].strip())
        except TokenRefused as error:
            raise forms.ValidationError(str(error)) from error
        self.instance.token_id, self.instance.expires_at = token_id, expires_at
        return token_id


@admin.register(RevokedToken)
class RevokedTokenAdmin(ReadOnlyAdmin):
    """Revoked tokens: added here and by ``manage.py token_revoke``, deleted when they expire."""

    list_display = ["token_id", "revoked_at", "expires_at"]
    search_fields = ["token_id"]
    fields = ["token_id", "revoked_at", "expires_at"]
    form = RevokeForm

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(REVOKE))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields if obj else ["token"]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        token_revoke(token_id=obj.token_id, expires_at=obj.expires_at)
