"""Where Django looks for the models of this package."""

from provisioner.access.models import AuthorizationServer, RevokedToken, UserTenant

__all__ = ["AuthorizationServer", "RevokedToken", "UserTenant"]
