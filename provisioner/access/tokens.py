"""Local tokens: JWTs with HS256. The first key signs them; all keys verify them.

A token is revoked by its id (:mod:`provisioner.access.revocation`). If a key is removed from the
settings, all tokens that it signed become invalid.
"""

import datetime as dt
import re
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jwt
from django.conf import settings
from pydantic import BaseModel, ValidationError

from provisioner.access.authorization_server import is_known_current
from provisioner.access.principals import Caller, Role, WrongBinding, bindings_check_empty
from provisioner.access.revocation import is_known_good, why_revoked
from provisioner.common import clock
from provisioner.common.limits import MOST_CREDENTIALS
from provisioner.environment import MOST_TOKEN_DAYS

ALGORITHM = "HS256"
PARTY = "provisioner"
"""Issuer and audience. A token that the same key signed for another purpose is refused."""

HOST_UNBOUND = (
    "a token of role HOST must name its host: issue it again with `manage.py token_create --role "
    "HOST --host ID`"
)
SHORTEST = dt.timedelta(hours=1)
LONGEST = dt.timedelta(days=30)
"""Longest life of a token that somebody requests. Tokens of nodes may be valid for longer."""
LONGEST_OF_ALL = dt.timedelta(days=MOST_TOKEN_DAYS)
TOKEN_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
ID_RULE = "the id of a token is its claim jti: 1 to 64 letters, digits and -"


class TokenRefused(Exception):
    """The token is not valid. The text may be shown to the caller."""


class _Claims(BaseModel):
    sub: str
    exp: int
    roles: list[str]
    tenant: str | None = None
    node: str | None = None
    host: str | None = None
    user: str = ""
    jti: str = ""


@dataclass(frozen=True)
class _Token:
    caller: Caller
    expires_at: int
    token_id: str
    user: str


def bindings_check(
    roles: Collection[Role], *, tenant_id: str | None, node_id: str | None, host_id: str | None
) -> None:
    """Check that a NODE token names its node, that a HOST token names its host, and that neither
    has another role. No binding may be empty.

    :raises WrongBinding: names the binding and the rule.
    """
    bindings_check_empty(tenant=tenant_id, node=node_id, host=host_id)
    if (Role.NODE in roles) != (node_id is not None):
        raise WrongBinding("node", "is required for the role NODE, and allowed only for it")
    if (Role.HOST in roles) != (host_id is not None):
        raise WrongBinding("host", "is required for the role HOST, and allowed only for it")
    if host_id is not None and set(roles) != {Role.HOST}:
        raise WrongBinding("host", "is allowed only for tokens of the role HOST")


def token_issue(
    *,
    name: str,
    roles: Collection[Role],
    tenant_id: str | None = None,
    node_id: str | None = None,
    host_id: str | None = None,
    user: str = "",
    lifetime: dt.timedelta,
) -> tuple[str, dt.datetime]:
    """Return a signed token and the time of its expiry, to the second.

    ``user``: the local user who requested the token. It is valid only while that user is active.
    ``lifetime`` is at most LONGEST_OF_ALL, for which a revocation by id is kept.
    """
    assert lifetime <= LONGEST_OF_ALL
    issued_at = clock.now().replace(microsecond=0)
    expires_at = issued_at + lifetime
    claims: dict[str, Any] = {
        "iss": PARTY,
        "aud": PARTY,
        "sub": name,
        "jti": uuid.uuid4().hex,
        "roles": sorted(roles),
        "iat": issued_at,
        "exp": expires_at,
    }
    bindings = {"tenant": tenant_id, "node": node_id, "host": host_id, "user": user or None}
    claims |= {claim: value for claim, value in bindings.items() if value is not None}
    return jwt.encode(claims, _keys()[0], algorithm=ALGORITHM), expires_at


def token_verify(token: str) -> Caller:
    """Return the caller that a token identifies. Roles that this version does not know are omitted.

    :raises TokenRefused: the token is malformed, expired, revoked, of an inactive user, not signed
        with one of our keys, or has the role HOST without a host.
    """
    found = _verified(token)
    if reason := why_revoked(found.token_id, found.user):
        raise TokenRefused(reason)
    if Role.HOST in found.caller.roles and found.caller.host_id is None:
        raise TokenRefused(HOST_UNBOUND)
    return found.caller


def token_watch(token: str) -> Callable[[], bool]:
    """Return a function that tells whether the token is still known to be valid.

    The function reads nothing. It also returns False if the data that this process has read is too
    old to decide. It never returns True if the token is not valid now: it may have expired, or the
    mode may have changed, since the token was verified.
    """
    try:
        found = _verified(token)
    except TokenRefused:
        return lambda: False

    def is_valid() -> bool:
        return (
            found.expires_at > clock.epoch_seconds()
            and is_known_current(None)
            and is_known_good(found.token_id, found.user)
        )

    return is_valid


def token_identify(token: str) -> tuple[str, dt.datetime]:
    """Return the id of a token, by which it is revoked, and the time of its expiry.

    :raises TokenRefused: it is not a token, it is expired, or it was issued before tokens had ids.
    """
    found = _verified(token)
    if not found.token_id:
        raise TokenRefused("the token has no id: only a change of TOKEN_KEYS invalidates it")
    return found.token_id, dt.datetime.fromtimestamp(found.expires_at, dt.UTC)


def token_or_id_identify(text: str) -> tuple[str, dt.datetime]:
    """Like :func:`token_identify`, but also accepts an id alone. The token is then assumed to
    expire after LONGEST_OF_ALL.

    :raises TokenRefused: the text is neither a token nor an id.
    """
    if "." in text:
        return token_identify(text)
    if not TOKEN_ID.fullmatch(text):
        raise TokenRefused(ID_RULE)
    return text, clock.now() + LONGEST_OF_ALL


def _verified(token: str) -> _Token:
    """:raises TokenRefused: not signed with any of our keys, expired, or not a token at all."""
    try:
        found = _read(token, _keys())
    except (jwt.InvalidTokenError, ValidationError, ArithmeticError, ValueError) as error:
        raise TokenRefused("the token is not valid for this API") from error
    if found.expires_at <= clock.epoch_seconds():
        raise TokenRefused("the token has expired")
    return found


@lru_cache(maxsize=MOST_CREDENTIALS)  # callers show the same token with each request
def _read(token: str, keys: tuple[str, ...]) -> _Token:
    """Return the content of a signed token. The caller must check its expiry and revocation."""
    claims = _Claims.model_validate(_decode(token, keys))
    roles = frozenset(role for role in Role if role in claims.roles)
    caller = Caller(claims.sub, roles, claims.tenant, claims.node, claims.host, user=claims.user)
    return _Token(caller, claims.exp, claims.jti, claims.user)


def _decode(token: str, keys: tuple[str, ...]) -> dict[str, Any]:
    refusal = jwt.InvalidSignatureError()
    for key in keys:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=PARTY,
                audience=PARTY,
                options={
                    "require": ["exp", "iat", "sub"],
                    "verify_exp": False,
                    # the clock of the server that issued it may be ahead of ours
                    "verify_iat": False,
                },
            )
        except jwt.InvalidSignatureError as error:
            refusal = error
    raise refusal


def _keys() -> tuple[str, ...]:
    keys = tuple(key.get_secret_value() for key in settings.ENVIRONMENT.token_keys)
    return keys or (settings.SECRET_KEY,)
