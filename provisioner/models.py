"""Django looks for the models of this package here."""

from provisioner.access.models import AuthorizationServer, RevokedToken, UserTenant

__all__ = ["AuthorizationServer", "RevokedToken", "UserTenant"]
