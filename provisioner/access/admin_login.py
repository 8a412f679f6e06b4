"""Login to the console: limits for passwords, rights by role, and HTTP headers for browsers."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest, HttpResponse

from provisioner.access.local_users import user_caller
from provisioner.access.login_attempts import REFUSED, TooManyLogins, login_checked, login_turn
from provisioner.access.principals import Role
from provisioner.common import logs
from provisioner.common.tenancy import is_of_tenants

OURS = frozenset({"provisioner", "events", "inventory", "tasks", "volumes"})
REVOKE = "provisioner.add_revokedtoken"

Handler = Callable[[HttpRequest], HttpResponse]


class GuardedBackend(ModelBackend):
    """Django's backend. In addition, it counts each password before it is hashed, and grants
    permissions by role.
    """

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """:raises TooManyLogins: too many attempts with this name or from this address."""
        check = super().authenticate
        if username is None or password is None:
            return None
        source = request.META.get("REMOTE_ADDR", "") if request else ""
        with login_turn(source):
            found = login_checked(
                username, source, lambda: check(request, username, password, **kwargs)
            )
        if found is None:
            REFUSED.count("", client=source, reason="wrong user name or password")
        return found

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        """Whether the user has a permission of Django, by itself or by role. MONITOR may view
        everything; ADMIN may also revoke tokens. A user who is bound to a tenant has only the
        permissions that concern objects of tenants.
        """
        app, _, action = perm.partition(".")
        if app in OURS and user_obj.is_active:
            if user_caller(user_obj).tenant_id is not None and not is_of_tenants(perm):
                return False
            roles = _roles(user_obj)
            if (roles and action.startswith("view_")) or (Role.ADMIN in roles and perm == REVOKE):
                return True
        return super().has_perm(user_obj, perm, obj)

    def has_module_perms(self, user_obj: Any, app_label: str) -> bool:
        ours = app_label in OURS and user_obj.is_active and bool(_roles(user_obj))
        return ours or super().has_module_perms(user_obj, app_label)


def _roles(user: Any) -> frozenset[Role]:
    """The roles of the user that give rights in the console."""
    return user_caller(user).roles & {Role.MONITOR, Role.ADMIN}


POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Content security policy of the console: only files of this server. Alpine.js, which unfold uses,
evaluates the expressions in attributes (docs/decisions/0033-console.md).
"""


class AdministrationPages:
    """Middleware that sets the content security policy of the pages, the name of the caller and
    the caller's tenant, and answers HTTP 429 after too many logins.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith("/admin") and request.user.is_authenticated:
            logs.caller.set(request.user.get_username())
            request.tenant_id = user_caller(request.user).tenant_id  # type: ignore[attr-defined]
        response = self.get_response(request)
        if request.path_info.startswith("/admin"):
            response.headers.setdefault("Content-Security-Policy", POLICY)
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, TooManyLogins):
            return None
        status = HTTPStatus.TOO_MANY_REQUESTS
        headers = {"Retry-After": str(error.seconds)}
        return HttpResponse(str(error), "text/plain; charset=utf-8", status, headers=headers)
