"""DRF authenticators: identify the caller of a request."""

import base64
import binascii
from collections.abc import Callable
from http import HTTPStatus

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.request import Request

from provisioner.access.authorization_server import authorization_server_current
from provisioner.access.local_users import user_verify
from provisioner.access.login_attempts import REFUSED, TooManyLogins
from provisioner.access.oidc_tokens import oidc_caller, oidc_watch
from provisioner.access.principals import Caller
from provisioner.access.signing_keys import KeysUnreadable
from provisioner.access.tokens import TokenRefused, token_verify, token_watch
from provisioner.common import logs

CHALLENGE = 'Basic realm="provisioner", charset="UTF-8"'
LONGEST_NAME = 150


class _HeaderAuthentication(BaseAuthentication):
    """Reads ``Authorization: <scheme> <credentials>``. Other schemes are ignored."""

    scheme: str

    def authenticate(self, request: Request) -> tuple[Caller, str] | None:
        scheme, credentials = credentials_of(request)
        if scheme != self.scheme:
            return None
        source = request.META.get("REMOTE_ADDR", "")
        try:
            caller = self.verify(credentials, source)
        except (AuthenticationFailed, TriesLater) as error:
            REFUSED.count("", client=source, reason=str(error.detail))
            raise
        logs.caller.set(caller.name)
        logs.caller_type.set(caller.type)
        return caller, self.scheme

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE

    def verify(self, credentials: str, source: str) -> Caller:
        """Return the caller with these credentials. ``source`` is the address that they come from.

        :raises AuthenticationFailed: the credentials are not valid. The answer is HTTP 401.
        """
        raise NotImplementedError


class BasicAuthentication(_HeaderAuthentication):
    """Name and password of a local user, in UTF-8. Latin-1 is accepted too, because some old
    clients send it.
    """

    scheme = "basic"

    def verify(self, credentials: str, source: str) -> Caller:
        """:raises TriesLater: too many wrong passwords; this one was not hashed. The answer is HTTP
        429.
        """
        try:
            decoded = base64.b64decode(credentials, validate=True)
        except (binascii.Error, ValueError) as error:
            raise AuthenticationFailed("the Basic credentials are malformed") from error
        name, _, password = _text(decoded).partition(":")
        valid = len(name) <= LONGEST_NAME and "\0" not in name
        try:
            caller = user_verify(name, password, source=source) if valid else None
        except TooManyLogins as error:
            raise TriesLater(str(error), error.seconds) from error
        if caller is None:
            raise AuthenticationFailed("wrong user name or password")
        return caller


class TriesLater(APIException):
    """HTTP 429: the credentials were not checked, because there were too many logins."""

    status_code = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, text: str, seconds: int) -> None:
        super().__init__(text)
        self.retry_after = seconds


class CannotVerify(APIException):
    """HTTP 503: the token cannot be verified now."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE


class BearerAuthentication(_HeaderAuthentication):
    """A token of the authorization server if one is configured, otherwise a local token."""

    scheme = "bearer"

    def verify(self, credentials: str, source: str) -> Caller:
        """:raises CannotVerify: the keys of the authorization server cannot be read. The answer is
        HTTP 503.
        """
        server = authorization_server_current()
        try:
            return oidc_caller(credentials, server) if server else token_verify(credentials)
        except TokenRefused as error:
            raise AuthenticationFailed(str(error)) from error
        except KeysUnreadable as error:
            raise CannotVerify(str(error)) from error


def bearer_watch(token: str) -> Callable[[], bool]:
    """Return a function that tells whether a token that was verified is still known to be valid.
    The function reads nothing, and returns False if what this process has read is too old.
    """
    server = authorization_server_current()
    return oidc_watch(token, server) if server else token_watch(token)


def admission_watch(request: Request) -> Callable[[], bool]:
    """Return a function that tells whether the credentials of an authenticated request still
    identify the same caller, with the same rights.

    It verifies the credentials again, which may take a query. A long answer calls it repeatedly.
    """
    caller, authenticator = request.user, request.successful_authenticator
    assert isinstance(caller, Caller)
    assert isinstance(authenticator, _HeaderAuthentication)
    _, credentials = credentials_of(request)
    source = request.META.get("REMOTE_ADDR", "")

    def is_admitted() -> bool:
        try:
            return authenticator.verify(credentials, source) == caller
        except APIException:
            return False

    return is_admitted


def credentials_of(request: Request) -> tuple[str, str]:
    """Return the scheme, in lower case, and the credentials of ``Authorization``. Both are empty if
    the header is missing.
    """
    scheme, _, credentials = request.headers.get("Authorization", "").strip().partition(" ")
    return scheme.lower(), credentials.strip()


def _text(decoded: bytes) -> str:
    try:
        return decoded.decode()
    except UnicodeDecodeError:
        return decoded.decode("latin-1")
