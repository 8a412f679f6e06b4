"""Sets and removes the authorization server (reference, "Authorization Server Config API's")."""

import logging
from functools import partial

from inventory.models import Backend
from inventory.nodes.client import NodeRefused, NodeUnreachable, call_all
from inventory.services.node.clients import node_client
from inventory.services.node.settings import authorization_settings, node_settings_with_token
from provisioner.access.authorization_server import (
    OidcClient,
    OidcServer,
    authorization_server_get,
    authorization_server_remove,
    authorization_server_store,
)
from provisioner.access.client_credentials import token_fetch
from provisioner.access.http_fetch import FetchFailed
from provisioner.access.oidc_tokens import OidcClaims, oidc_verify
from provisioner.access.principals import Role
from provisioner.access.signing_keys import Keys, KeysUnreadable
from provisioner.access.tokens import TokenRefused
from provisioner.common.results import ProvisionerError, ResultCode

log = logging.getLogger(__name__)

PUSH_SECONDS = 8.0
NAMED_NODES = 5


class ProvisionerTokenNotMade(ProvisionerError):
    """The server returned no token for the provisioner's client."""

    code = ResultCode.CreateProvisionerClientTokenFailed


class BackendsTokenNotMade(ProvisionerError):
    """The server returned no token for the backends client."""

    code = ResultCode.CreateBackendsClientTokenFailed


class ProvisionerTokenInvalid(ProvisionerError):
    """The token's signature, time, issuer or form is wrong, or no key can verify it."""

    code = ResultCode.DecryptProvisionerClientTokenFailed


class BackendsTokenInvalid(ProvisionerError):
    """Like the above. It must have a required audience, because nodes show it to us."""

    code = ResultCode.DecryptBackendsClientTokenFailed


class ProvisionerClientNoAdmin(ProvisionerError):
    code = ResultCode.ProvisionerClientUnauthorized


class BackendsClientNoAdmin(ProvisionerError):
    code = ResultCode.BackendsClientUnauthorized


class NodesNotAvailable(ProvisionerError):
    """Nodes are Unavailable, or do not accept the settings."""

    code = ResultCode.NotAvailable


class SameServer(ProvisionerError):
    """This server is set already, with the same values."""

    code = ResultCode.NoChange


class LocalMode(ProvisionerError):
    """No authorization server is set."""

    code = ResultCode.InvalidAuthMode


def authorization_server_set(*, server: OidcServer) -> None:
    """Accept tokens of ``server`` from now on, after its tokens were checked and all nodes have
    accepted the settings. If only some nodes accept them, nothing is stored. The probes of those
    nodes are refused until the poll gives them the stored settings again. The errors are checked in
    this order:

    :raises ProvisionerTokenNotMade, BackendsTokenNotMade, ProvisionerTokenInvalid,
        BackendsTokenInvalid, ProvisionerClientNoAdmin, BackendsClientNoAdmin, NodesNotAvailable,
        SameServer: see above.
    """
    _prove(server)
    backends = _all_available()
    if authorization_server_get() == server:
        raise SameServer(
            f"{server.token_url} is already the authorization server, with the same settings"
        )
    _push(backends, server)
    authorization_server_store(server)
    log.info("authorization server set", extra={"token_url": server.token_url})


def authorization_server_delete() -> None:
    """Accept local tokens again, after all nodes have accepted a local token.

    :raises LocalMode: no authorization server is set.
    :raises NodesNotAvailable: a node is not Available, or does not accept its settings.
    """
    if authorization_server_get() is None:
        raise LocalMode("no authorization server is set: the authentication mode is JWT")
    _push(_all_available(), None)
    authorization_server_remove()
    log.info("authorization server removed")


def _prove(server: OidcServer) -> None:
    """Check that both clients get valid tokens with the role ADMIN."""
    provisioner = _token(server, server.provisioner, ProvisionerTokenNotMade)
    backends = _token(server, server.backends, BackendsTokenNotMade)
    keys = server.keys(fresh=True)
    provisioner_claims = _claims(provisioner, server, keys, "", ProvisionerTokenInvalid)
    backends_claims = _claims(backends, server, keys, server.audience, BackendsTokenInvalid)
    is_for_us = bool(server.audience)
    _check_admin(provisioner_claims, server.provisioner, is_for_us, ProvisionerClientNoAdmin)
    _check_admin(backends_claims, server.backends, is_for_us, BackendsClientNoAdmin)


def _token(server: OidcServer, client: OidcClient, failure: type[ProvisionerError]) -> str:
    try:
        issued = token_fetch(
            server.token_url,
            client_id=client.client_id,
            client_secret=client.secret,
            scope=client.scope,
            ca=server.ca_certificate(),
        )
    except FetchFailed as error:
        raise failure(
            f"{server.token_url} issues no token for client {client.client_id!r}: {error}"
        ) from error
    return issued.text


def _claims(
    token: str, server: OidcServer, keys: Keys, audience: str, failure: type[ProvisionerError]
) -> OidcClaims:
    try:
        return oidc_verify(token, server, keys, audience=audience)
    except (TokenRefused, KeysUnreadable) as error:
        raise failure(
            f"the token that {server.token_url} issued cannot be used: {error}"
        ) from error


def _check_admin(
    claims: OidcClaims, client: OidcClient, is_for_us: bool, failure: type[ProvisionerError]
) -> None:
    if Role.ADMIN not in claims.roles_at(client.resource_id, is_for_us=is_for_us):
        more = (
            "" if is_for_us else ("; roles outside of resources count only if an audience is set")
        )
        raise failure(
            f"the token of client {client.client_id!r} has no role ADMIN at resource "
            f"{client.resource_id!r}{more}"
        )


def _all_available() -> list[Backend]:
    """Return all backends, or raise NodesNotAvailable, which names those that are not Available."""
    backends = list(Backend.objects.prefetch_related("addresses"))
    if silent := [backend.pk for backend in backends if not backend.is_available]:
        raise NodesNotAvailable(f"not all backends are Available: {_named(silent)}")
    return backends


def _push(backends: list[Backend], server: OidcServer | None) -> None:
    """Make all nodes use tokens of this server (None: local tokens), or raise NodesNotAvailable."""
    if not backends:
        return
    authorization = authorization_settings(server)
    calls, expiries = {}, []
    for backend in backends:
        settings, expires_at = node_settings_with_token(backend)
        told = settings.model_copy(update={"authorization_server": authorization})
        client = node_client(backend)
        calls[backend.pk] = partial(client.put_provisioner, told, timeout=PUSH_SECONDS)
        expiries.append(expires_at)
    outcomes = call_all(calls, timeout_seconds=PUSH_SECONDS)
    failed = {k: o for k, o in outcomes.items() if isinstance(o, NodeRefused | NodeUnreachable)}
    taken = [backend.pk for backend in backends if backend.pk not in failed]
    Backend.objects.filter(pk__in=taken).update(token_expires_at=min(expiries))
    if failed:
        reason = next(iter(failed.values()))
        raise NodesNotAvailable(
            f"not all backends accept the settings: {_named(list(failed))}: {reason}"
        )


def _named(ids: list[str]) -> str:
    rest = len(ids) - NAMED_NODES
    return ", ".join(ids[:NAMED_NODES]) + (f" and {rest} more" if rest > 0 else "")
