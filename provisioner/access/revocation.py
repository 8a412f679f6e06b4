"""Tokens that are refused before they expire: revoked tokens, and tokens of inactive users.

Each process reads both again after CACHE_SECONDS, in the same way as the authorization server.
"""

import datetime as dt
import time
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import QuerySet

from events.kinds import Kind
from events.recording import record
from provisioner.access import authorization_server
from provisioner.access.models import RevokedToken
from provisioner.common import clock
from provisioner.common.compiled import Compiled


@dataclass(frozen=True)
class _Known:
    revoked: frozenset[str]
    users: frozenset[str]
    read_at: float

    @property
    def age(self) -> float:
        return time.monotonic() - self.read_at

    @property
    def is_fresh(self) -> bool:
        return self.age < authorization_server.CACHE_SECONDS


_known: _Known | None = None


def token_revoke(*, token_id: str, expires_at: dt.datetime) -> None:
    """Revoke a token: each process refuses it within CACHE_SECONDS. Deletes expired rows."""
    RevokedToken.objects.filter(expires_at__lt=clock.now()).delete()
    with transaction.atomic():
        RevokedToken.objects.bulk_create(
            [RevokedToken(token_id=token_id, expires_at=expires_at)], ignore_conflicts=True
        )
        record(Kind.TOKEN_REVOKED, token=token_id)
    revocations_clear_cache()


def why_revoked(token_id: str, user: str) -> str:
    """Return the reason why a token with this id, issued to this user, is refused. "": it is valid.

    An empty id or user is not checked.
    """
    known = _read()
    if token_id in known.revoked:
        return "the token was revoked"
    if user and user not in known.users and not _active_users().filter(username=user).exists():
        return f"the token belongs to user {user!r}, who is not active"
    return ""


def is_known_good(token_id: str, user: str) -> bool:
    """Whether the token is valid according to data that this process read at most CACHE_SECONDS
    ago.

    Reads nothing. If the data is older, the result is False.
    """
    known = _known
    if known is None or not known.is_fresh:
        return False
    return token_id not in known.revoked and (not user or user in known.users)


def revocations_clear_cache() -> None:
    """Clear the cache of this process."""
    global _known  # noqa: PLW0603 - one value for all threads; assignment is atomic
    _known = None


def revocations_refresh() -> None:
    """Read them again after half of CACHE_SECONDS, so that no request has to."""
    global _known  # noqa: PLW0603
    known = _known
    if known is None or known.age >= authorization_server.CACHE_SECONDS / 2:
        found = _read_now()
        if _known is known:  # no token was revoked in this process meanwhile
            _known = found


def _read() -> _Known:
    global _known  # noqa: PLW0603
    known = _known
    if known is None or not known.is_fresh:
        _known = known = _read_now()
    return known


def _read_now() -> _Known:
    now = time.monotonic()
    revoked = frozenset(token_id for (token_id,) in REVOKED.rows())
    return _Known(revoked, frozenset(user for (user,) in USERS.rows()), now)


def _active_users() -> QuerySet[Any]:
    return get_user_model().objects.filter(is_active=True)


REVOKED = Compiled(lambda: RevokedToken.objects.values_list("token_id"))
USERS = Compiled(lambda: _active_users().values_list("username"))
