"""Tables of the access layer."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from provisioner.common import clock


class AuthorizationServer(models.Model):
    """The only OpenID Connect server whose tokens are accepted. If there is no row, local tokens
    are accepted.

    The client secrets are encrypted (:mod:`provisioner.access.secrets`).
    """

    ONLY = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    token_url = models.CharField(max_length=2048)
    public_key = models.TextField(blank=True)
    jwk_set_url = models.CharField(max_length=2048, blank=True)
    issuer = models.CharField(max_length=2048, blank=True)
    audience = models.CharField(max_length=2048, blank=True)
    provisioner_client_id = models.CharField(max_length=255)
    provisioner_resource_id = models.CharField(max_length=255)
    provisioner_client_secret = models.TextField(help_text="encrypted")
    provisioner_client_scope = models.CharField(max_length=1024, blank=True)
    backends_client_id = models.CharField(max_length=255)
    backends_resource_id = models.CharField(max_length=255)
    backends_client_secret = models.TextField(help_text="encrypted")
    backends_client_scope = models.CharField(max_length=1024, blank=True)
    changed_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id=1), name="one_authorization_server"),
            models.CheckConstraint(
                condition=Q(public_key="") ^ Q(jwk_set_url=""), name="one_source_of_keys"
            ),
        ]

    def __str__(self) -> str:
        return self.token_url


class RevokedToken(models.Model):
    """A local token that is refused. The row is deleted after the token has expired."""

    token_id = models.CharField(primary_key=True, max_length=64)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(default=clock.now)

    def __str__(self) -> str:
        return self.token_id


class UserTenant(models.Model):
    """Binds a local user to a tenant. The user can then see and change only objects of this tenant,
    in the API and in the console.

    A user without a row sees the whole pool, and so does a superuser. The row stays when the tenant
    is deleted. The user then sees nothing.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="binding",
    )
    tenant_id = models.CharField(max_length=64, help_text="the id of the tenant (tenantId)")

    class Meta:
        verbose_name = "tenant"

    def __str__(self) -> str:
        return self.tenant_id
