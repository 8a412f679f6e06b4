"""Verifies tokens of the authorization server and reads their claims."""

from collections.abc import Callable
from typing import Any

import jwt
from pydantic import BaseModel, ValidationError

from provisioner.access.authorization_server import OidcServer, is_known_current
from provisioner.access.principals import Caller, Role, WrongBinding
from provisioner.access.signing_keys import Keys, KeysUnreadable, SigningKey
from provisioner.access.tokens import TokenRefused
from provisioner.common import clock

LEEWAY_SECONDS = 5
"""Allowed difference between the clocks of the authorization server and of this machine."""
LONGEST_NAME = 150
NO_AUDIENCE = (
    "the token has no roles for a resource, and no audience is set, so the token may be for "
    "another API: set authorizationServerAudience with POST /auth_server"
)


class _Access(BaseModel):
    roles: list[str] = []


class OidcClaims(BaseModel):
    """The claims of a verified token.

    Servers name the client and the user in different claims: Keycloak in ``azp`` and
    ``preferred_username``, RFC 9068 in ``client_id``, ADFS in ``appid``, and for a client without
    ``sub``.
    """

    sub: str | None = None
    preferred_username: str | None = None
    azp: str | None = None
    client_id: str | None = None
    appid: str | None = None
    tenant: str | None = None
    node: str | None = None
    host: str | None = None
    roles: list[str] | str = []
    resource_access: dict[str, _Access] | None = None

    @property
    def client(self) -> str | None:
        return self.azp or self.client_id or self.appid

    @property
    def name(self) -> str:
        name = self.preferred_username or self.client or self.sub or "unnamed"
        return name[:LONGEST_NAME]

    def roles_at(self, resource_id: str, *, is_for_us: bool) -> frozenset[Role]:
        """Return the known roles at a resource.

        Keycloak lists roles for each resource in ``resource_access``. Tokens of ADFS do not have
        this claim, and their roles name no resource. Such roles count only if the audience shows
        that the token is for this API (``is_for_us``). Otherwise roles of another application would
        count.
        """
        if self.resource_access is not None:
            held = self.resource_access.get(resource_id, _Access()).roles
        elif not is_for_us:
            held = []
        else:
            held = [self.roles] if isinstance(self.roles, str) else self.roles
        return frozenset(role for role in Role if role in held)


def oidc_caller(token: str, server: OidcServer) -> Caller:
    """Return the caller that a bearer token of ``server`` identifies.

    Storage nodes use the backends client. Its tokens may only send probes, of any node, unless it
    is also the provisioner's client.

    :raises TokenRefused: the token is expired, not signed by that server, not for this API, has the
        role HOST without a host, or is bound to an empty tenant, node or host.
    :raises KeysUnreadable: the keys of the server cannot be read.
    """
    claims = oidc_verify(token, server, server.keys(), audience=server.audience)
    is_for_us = bool(server.audience)
    backends = server.backends
    if claims.client == backends.client_id != server.provisioner.client_id:
        if not is_for_us and not claims.roles_at(backends.resource_id, is_for_us=False):
            raise TokenRefused(NO_AUDIENCE)
        return Caller(claims.name, frozenset({Role.NODE}), speaks_for_all_nodes=True)
    if not is_for_us and claims.resource_access is None:
        raise TokenRefused(NO_AUDIENCE)
    roles = claims.roles_at(server.provisioner.resource_id, is_for_us=is_for_us)
    if Role.HOST in roles and claims.host is None:
        raise TokenRefused("a token of role HOST needs the claim `host`, the id of its host")
    try:
        return Caller(claims.name, roles, claims.tenant, claims.node, claims.host)
    except WrongBinding as error:
        raise TokenRefused(f"the claim {error}") from error


def oidc_verify(token: str, server: OidcServer, keys: Keys, *, audience: str = "") -> OidcClaims:
    """Return the claims of a token that one of the ``keys`` signed. If ``audience`` is given, the
    token must be for it.

    :raises TokenRefused: the token is not signed by one of them, malformed, expired, not valid yet,
        or for another issuer or audience.
    :raises KeysUnreadable: there are no keys.
    """
    try:
        claims, _ = _decode(token, server, keys, audience)
        return OidcClaims.model_validate(claims)
    except jwt.ExpiredSignatureError as error:
        raise TokenRefused("the token has expired") from error
    except jwt.ImmatureSignatureError as error:
        raise TokenRefused("the token is not valid yet") from error
    except jwt.InvalidIssuerError as error:
        raise TokenRefused(f"the token's issuer is not {server.issuer!r}") from error
    except jwt.InvalidAudienceError as error:
        raise TokenRefused(f"the token is not for audience {audience!r}") from error
    except (jwt.InvalidTokenError, ValidationError, ArithmeticError, ValueError) as error:
        raise TokenRefused("the token is not valid for this API") from error


def oidc_watch(token: str, server: OidcServer) -> Callable[[], bool]:
    """As :func:`~provisioner.access.tokens.token_watch`, for a token of the server."""
    try:
        claims, key = _decode(token, server, server.keys(), server.audience)
    except (KeysUnreadable, jwt.InvalidTokenError, ArithmeticError, ValueError):
        return lambda: False
    expires_at = float(claims["exp"])

    def is_valid() -> bool:
        return (
            expires_at > clock.epoch_seconds()
            and is_known_current(server)
            and server.keys().trusts(key)
        )

    return is_valid


def _decode(
    token: str, server: OidcServer, keys: Keys, audience: str
) -> tuple[dict[str, Any], SigningKey]:
    """The claims of the token, and the key that signed it."""
    kid = jwt.get_unverified_header(token).get("kid")
    refusal: jwt.InvalidTokenError = jwt.InvalidSignatureError()
    for candidate in keys.candidates(kid):
        try:
            claims = jwt.decode(
                token,
                candidate.key,
                algorithms=list(candidate.algorithms),
                issuer=server.issuer or None,
                audience=audience or None,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp"], "verify_aud": bool(audience), "verify_iat": False},
            )
            return claims, candidate
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError) as error:
            refusal = error
    raise refusal
