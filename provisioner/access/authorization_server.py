"""The configured authorization server (reference, "Authorization Server Config API's")."""

import logging
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.db import transaction

from events.kinds import Kind
from events.recording import record
from provisioner.access import secrets
from provisioner.access.jwk_set import keys_new, keys_shared
from provisioner.access.models import AuthorizationServer
from provisioner.access.signing_keys import Keys, KeysUnreadable
from provisioner.common import clock

log = logging.getLogger(__name__)

CACHE_SECONDS = 2.0
LOCAL_MODE = "JWT"
OPENID_MODE = "OPEN_IDC"


@dataclass(frozen=True, kw_only=True)
class OidcClient:
    """A client that is registered at the server. Its role ADMIN is at ``resource_id``."""

    client_id: str
    resource_id: str
    secret: str = field(repr=False)
    scope: str = ""


@dataclass(frozen=True, kw_only=True)
class OidcServer:
    """A server and its two clients.

    Exactly one of ``public_key`` and ``jwk_set_url`` is set. If ``issuer`` or ``audience`` is set,
    tokens must match it.
    """

    token_url: str
    public_key: str = ""
    jwk_set_url: str = ""
    issuer: str = ""
    audience: str = ""
    provisioner: OidcClient
    backends: OidcClient

    def keys(self, *, fresh: bool = False) -> Keys:
        """Return the signing keys. ``fresh``: read them now, not from the cache of this process.

        :raises KeysUnreadable: the URL is http, so an attacker could change the keys on the way.
        """
        is_open = self.jwk_set_url.lower().startswith("http:")
        if is_open and not settings.ENVIRONMENT.auth_server_http:
            raise KeysUnreadable(
                f"the keys at {self.jwk_set_url} must be fetched over https: set the authorization "
                "server again with POST /auth_server"
            )
        make = keys_new if fresh else keys_shared
        ca = self.ca_certificate()
        return make(public_key=self.public_key, jwk_set_url=self.jwk_set_url, ca=ca)

    def ca_certificate(self) -> str:
        """Return the PEM of the CA that verifies the server's certificate. "": the CAs of the
        system.

        :raises OSError: the file of AUTH_SERVER_CA cannot be read.
        """
        path = settings.ENVIRONMENT.auth_server_ca
        return _text(path) if path else ""


@lru_cache(maxsize=4)
def _text(path: Path) -> str:
    return path.read_text()


def authorization_server_get() -> OidcServer | None:
    """Return the stored server. A secret that cannot be decrypted is "", and an error is logged."""
    row = AuthorizationServer.objects.first()
    return _server(row) if row else None


_cached: tuple[float, OidcServer | None] = (float("-inf"), None)


def authorization_server_current() -> OidcServer | None:
    """Return the stored server, read at most CACHE_SECONDS ago. This is fast enough for every
    request.
    """
    global _cached  # noqa: PLW0603 - one value for all threads; assignment is atomic
    now = time.monotonic()
    read_at, server = _cached
    if now - read_at >= CACHE_SECONDS:
        server = authorization_server_get()
        _cached = now, server
    return server


def authorization_server_refresh() -> None:
    """Read the stored server again after half of CACHE_SECONDS, so that no request has to."""
    global _cached  # noqa: PLW0603
    now, cached = time.monotonic(), _cached
    if now - cached[0] >= CACHE_SECONDS / 2:
        server = authorization_server_get()
        if _cached is cached:  # not changed in this process meanwhile
            _cached = now, server


def is_known_current(server: OidcServer | None) -> bool:
    """Whether this process read at most CACHE_SECONDS ago that this, or none, is the server."""
    read_at, found = _cached
    return found == server and time.monotonic() - read_at < CACHE_SECONDS


def authorization_server_clear_cache() -> None:
    """Clear the cache of this process. That of others ends within CACHE_SECONDS."""
    global _cached  # noqa: PLW0603
    _cached = float("-inf"), None
    keys_shared.cache_clear()


def authentication_mode() -> str:
    return OPENID_MODE if authorization_server_current() else LOCAL_MODE


def authorization_server_store(server: OidcServer) -> None:
    """Store the server: from now on its tokens are accepted, and local tokens are not."""
    with transaction.atomic(durable=True):
        AuthorizationServer.objects.update_or_create(
            pk=AuthorizationServer.ONLY, defaults=_columns(server)
        )
        record(Kind.AUTHORIZATION_SERVER_SET, tokenUrl=server.token_url, issuer=server.issuer)
    authorization_server_clear_cache()


def authorization_server_remove() -> None:
    """Remove the server: from now on local tokens are accepted again."""
    with transaction.atomic(durable=True):
        AuthorizationServer.objects.all().delete()
        record(Kind.AUTHORIZATION_SERVER_REMOVED)
    authorization_server_clear_cache()


def _columns(server: OidcServer) -> dict[str, object]:
    columns: dict[str, object] = {
        "token_url": server.token_url,
        "public_key": server.public_key,
        "jwk_set_url": server.jwk_set_url,
        "issuer": server.issuer,
        "audience": server.audience,
        "changed_at": clock.now(),
    }
    for name, client in (("provisioner", server.provisioner), ("backends", server.backends)):
        columns |= {
            f"{name}_client_id": client.client_id,
            f"{name}_resource_id": client.resource_id,
            f"{name}_client_secret": secrets.encrypt(client.secret),
            f"{name}_client_scope": client.scope,
        }
    return columns


def _server(row: AuthorizationServer) -> OidcServer:
    return OidcServer(
        token_url=row.token_url,
        public_key=row.public_key,
        jwk_set_url=row.jwk_set_url,
        issuer=row.issuer,
        audience=row.audience,
        provisioner=OidcClient(
            client_id=row.provisioner_client_id,
            resource_id=row.provisioner_resource_id,
            secret=_readable(row.provisioner_client_secret),
            scope=row.provisioner_client_scope,
        ),
        backends=OidcClient(
            client_id=row.backends_client_id,
            resource_id=row.backends_resource_id,
            secret=_readable(row.backends_client_secret),
            scope=row.backends_client_scope,
        ),
    )


def _readable(stored: str) -> str:
    """Return the secret, or "" if it cannot be decrypted. Tokens are verified without it, and
    ``POST /auth_server`` can set it again.
    """
    try:
        return secrets.decrypt(stored)
    except secrets.UnreadableSecret as error:
        log.error("the client secret cannot be read", extra={"reason": str(error)})
        return ""
