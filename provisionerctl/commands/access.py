"""Commands for tokens, users and the authorization server."""

import json
import sys
from typing import Any

import click
import yaml

from provisionerctl import names, output
from provisionerctl.complete import HOST, NODE, TENANT
from provisionerctl.errors import Exit, Failure
from provisionerctl.options import noun, with_confirmation, with_watch
from provisionerctl.output import Column
from provisionerctl.session import Session, pass_session
from provisionerctl.units import Duration

tokens = noun("tokens", "", "")
tokens.help = "Tokens of this API."
users = noun("users", "list", "Local users, who log in with name and password.")
auth_server = noun("auth-server", "show", "The authorization server (OpenID Connect).")
ROLES = ("ADMIN", "MONITOR", "STORAGE", "NODE", "HOST")
COLUMNS = (
    Column("TOKEN URL", "authorizationServerTokenURL"),
    Column("JWK SET URL", "authorizationServerJwkSetURL"),
    Column("PUBLIC KEY", "authorizationServerPublicKey"),
    Column("ISSUER", "authorizationServerIssuer"),
    Column("AUDIENCE", "authorizationServerAudience"),
    Column("PROVISIONER CLIENT", "provisionerClientID"),
    Column("PROVISIONER RESOURCE", "provisionerResourceID"),
    Column("PROVISIONER SCOPE", "provisionerClientScope"),
    Column("BACKENDS CLIENT", "backendsClientID"),
    Column("BACKENDS RESOURCE", "backendsResourceID"),
    Column("BACKENDS SCOPE", "backendsClientScope"),
)
"""Secrets are shown by ``-o json`` alone."""
REVOKED = (
    Column("TOKEN ID", "tokenId"),
    Column("REVOKED", "revokedAt"),
    Column("EXPIRES", "expirationDate"),
)
USERS = (
    Column("NAME", "name"),
    Column("ROLES", "roles"),
    Column("TENANT", "tenantId"),
    Column("ACTIVE", "isActive"),
    Column("SUPERUSER", "isSuperuser"),
)


@tokens.command("create")
@click.option(
    "--role",
    multiple=True,
    type=click.Choice(ROLES, case_sensitive=False),
    help="May be repeated; without it: all roles of the user.",
)
@click.option("--for-tenant", type=TENANT, help="The tenant whose objects the token can access.")
@click.option("--for-host", type=HOST, help="The host of the token, with the role HOST.")
@click.option("--for-node", type=NODE, help="The node of the token, with the role NODE.")
@click.option("--name", help="Name of the token; logs show <user>/<name>.")
@click.option("--expires-in", type=Duration(), help="1h to 30d; 1h is the default.")
@pass_session
def create(session: Session, /, role: tuple[str, ...], **options: Any) -> None:
    """Issue a token to the user of the context, with name and password. Only the token
    is printed.
    """
    wire = {
        "for_tenant": "tenant",
        "for_host": "host",
        "for_node": "node",
        "expires_in": "expiration",
    }
    client = session.client
    if host := options["for_host"]:
        options["for_host"] = names.known_or_new(names.host, client, host)
    if node := options["for_node"]:
        options["for_node"] = names.known_or_new(names.node_id, client, node)
    if tenant := options["for_tenant"]:
        names.tenant(client, tenant)
    body = {wire.get(name, name): value for name, value in options.items() if value is not None}
    if role:
        body["roles"] = list(role)
    answer = client.change("POST", "token", body=body)
    session.done(answer, str(answer["token"]))


@tokens.command("revoke")
@click.argument("token_id", required=False)
@with_confirmation
@pass_session
def revoke(session: Session, token_id: str | None) -> None:
    """Revoke the token with this id (its claim jti), or without one, the token on stdin."""
    token = token_id or sys.stdin.readline().strip()
    session.confirm(f"Revoke {'token ' + token_id if token_id else 'the token'}?")
    answer = session.client.change("POST", "revoked_tokens", body={"token": token})
    session.done(answer, "The token is revoked. Each process refuses it within 5 s.")


@tokens.command("revoked", csv=True)
@with_watch
@pass_session
def revoked(session: Session) -> None:
    """List revoked tokens that have not expired. Issued tokens are stored nowhere."""
    session.list(lambda: session.client.get("revoked_tokens"), REVOKED)


@users.command("list", csv=True)
@with_watch
@pass_session
def list_(session: Session) -> None:
    """List users with their roles and tenants."""
    session.list(lambda: session.client.get("users"), USERS)


@auth_server.command(csv=True)
@pass_session
def show(session: Session) -> None:
    """Show the authorization server."""

    def draw(row: dict[str, Any]) -> Any:
        return (
            output.details(row, COLUMNS)
            if row
            else ("No authorization server is set: local tokens are accepted.")
        )

    session.show(lambda: session.client.get("auth_server"), draw, COLUMNS)


@auth_server.command("set")
@click.argument("file", type=click.File())
@pass_session
def set_(session: Session, file: Any) -> None:
    """Accept the tokens of the authorization server that FILE describes; - is stdin.

    FILE is JSON or YAML with the fields of POST /auth_server, which hold secrets. Local tokens are
    refused from then on.
    """
    text = file.read()
    try:
        body = yaml.safe_load(text)
        json.dumps(body, allow_nan=False)
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise Failure(
            f"{file.name} is neither JSON, nor YAML with values of JSON: {error}", Exit.USAGE
        ) from None
    answer = session.client.change("POST", "auth_server", body=body)
    session.done(answer, "Tokens of the authorization server are accepted.")


@auth_server.command()
@with_confirmation
@pass_session
def delete(session: Session) -> None:
    """Return to local tokens."""
    session.confirm("Refuse the tokens of the authorization server, and return to local ones?")
    answer = session.client.change("DELETE", "auth_server")
    session.done(answer, "Local tokens are accepted again.")
