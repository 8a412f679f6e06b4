"""The settings that a node needs to probe the provisioner ("Set Provisioner" of the reference)."""

import datetime as dt

from django.conf import settings

from inventory.models import LATE_FACTOR, Backend
from inventory.nodes.wire import AuthorizationServer, PoolIdentity, ProvisionerSettings, Tag
from inventory.services.pool.generations import generation_mark
from inventory.services.pool.identity import pool_identity
from provisioner.access.authorization_server import OidcServer, authorization_server_current
from provisioner.access.principals import Role
from provisioner.access.tokens import token_issue
from provisioner.common import clock

PROVISIONER_NAME = "provisioner"


def unavailable_at(last_activity_at: dt.datetime) -> dt.datetime:
    """Return the time at which a node with this last heartbeat becomes Unavailable."""
    interval = settings.ENVIRONMENT.probe_interval_seconds
    return last_activity_at + dt.timedelta(seconds=LATE_FACTOR * interval)


def node_settings(backend: Backend, pool: PoolIdentity | None = None) -> ProvisionerSettings:
    """Return the settings of a backend, without a token. Without a pool, they are the answer to its
    probes.
    """
    environment = settings.ENVIRONMENT
    location = {
        "rack": backend.rack,
        "zone": backend.zone,
        "region": backend.region,
        "hostId": backend.host_id,
    }
    return ProvisionerSettings(
        name=PROVISIONER_NAME,
        url=environment.url_for_nodes,
        push_interval=environment.probe_interval_seconds,
        in_use=backend.in_use,
        tags=tuple(Tag(name=name, value=value) for name, value in location.items() if value),
        authorization_server=authorization_settings(authorization_server_current()),
        pool=pool,
    )


def authorization_settings(server: OidcServer | None) -> AuthorizationServer | None:
    """The settings with which a node gets tokens as the backends client."""
    if server is None:
        return None
    return AuthorizationServer(
        token_url=server.token_url,
        client_id=server.backends.client_id,
        client_secret=server.backends.secret,
        resource_id=server.backends.resource_id,
        public_key=server.public_key,
        jwk_set_url=server.jwk_set_url,
        scope=server.backends.scope,
        ca_certificate=server.ca_certificate(),
    )


def node_settings_with_token(backend: Backend) -> tuple[ProvisionerSettings, dt.datetime]:
    """Return the settings to write onto a node, with a new token for its probes, and the expiry of
    the token.
    """
    environment = settings.ENVIRONMENT
    token, expires_at = token_issue(
        name=f"node {backend.persistent_id}",
        roles=frozenset({Role.NODE}),
        node_id=backend.persistent_id,
        lifetime=dt.timedelta(days=environment.node_token_days),
    )
    ca = environment.node_ca.read_text() if environment.node_ca else ""
    update = {"token": token, "ca_certificate": ca, "newest_generation": generation_mark()}
    return node_settings(backend, pool_identity()).model_copy(update=update), expires_at


def token_renewal_due_before() -> dt.datetime:
    """Return the expiry of a node token that is now at half of its lifetime. Tokens that expire
    earlier are renewed.
    """
    return clock.now() + dt.timedelta(days=settings.ENVIRONMENT.node_token_days) / 2
