"""Credentials of an embedded system: those of its first user, and those of its simulated host."""

import base64
import datetime as dt
import secrets
from dataclasses import dataclass

from django.contrib.auth import get_user_model

from provisioner.access.principals import Role
from provisioner.access.tokens import LONGEST, token_issue

NAME = "admin"
TOKEN_LIFE = dt.timedelta(days=1)


@dataclass(frozen=True)
class Credentials:
    """The credentials of the administrator. The ``password`` is known only at the first start.
    Later, a token that is valid for one day is used instead.
    """

    password: str | None
    token: str

    @property
    def header(self) -> str:
        """The ``Authorization`` header."""
        if self.password is None:
            return f"Bearer {self.token}"
        return "Basic " + base64.b64encode(f"{NAME}:{self.password}".encode()).decode()

    @property
    def curl(self) -> str:
        """The same as arguments of curl."""
        if self.password is None:
            return f"-H 'Authorization: {self.header}'"
        return f"-u '{NAME}:{self.password}'"


def administrator() -> Credentials:
    """Return credentials of the user ``admin``. At the first start, this user is created with a
    random password.
    """
    users = get_user_model().objects
    token, _ = token_issue(name=NAME, roles=[Role.ADMIN], lifetime=TOKEN_LIFE)
    if users.filter(username=NAME).exists():
        return Credentials(None, token)
    password = secrets.token_urlsafe(12)
    users.create_superuser(NAME, password=password)
    return Credentials(password, token)


def host_token(host_id: str) -> str:
    """Return a token for the simulated host. It has the longest possible life."""
    token, _ = token_issue(
        name="simulated-host", roles=[Role.HOST], host_id=host_id, lifetime=LONGEST
    )
    return token
