"""How the administration pages check passwords, and what they tell browsers."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest, HttpResponse

from provisioner.access.login_attempts import TooManyLogins, login_checked

Handler = Callable[[HttpRequest], HttpResponse]


class GuardedBackend(ModelBackend):
    """Django's own, which counts each try before it is hashed, as the API does."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """:raises TooManyLogins: of this name or from this address."""
        check = super().authenticate
        if username is None or password is None:
            return None
        source = request.META.get("REMOTE_ADDR", "") if request else ""
        return login_checked(username, source, lambda: check(request, username, password, **kwargs))


POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
"""What a browser runs and loads on the administration pages: nothing that is not ours."""


class AdministrationPages:
    """Tells browsers what the pages may load, and answers HTTP 429 where a page refuses to try a
    password.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
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
