"""Django's middleware for sessions of users. It serves the pages of the console only: requests of
the API have no session.
"""

from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin


class _ConsoleOnly(MiddlewareMixin):
    """Does nothing for requests of the API. Before, these took a twentieth of a short request."""

    def __call__(self, request: HttpRequest) -> Any:
        if request.path_info.startswith("/admin"):
            return super().__call__(request)
        return self.get_response(request)


class Sessions(_ConsoleOnly, SessionMiddleware):
    """The session of the user."""


class Authentication(_ConsoleOnly, AuthenticationMiddleware):
    """The user of the session."""


class Messages(_ConsoleOnly, MessageMiddleware):
    """Messages for the next page of the user."""
