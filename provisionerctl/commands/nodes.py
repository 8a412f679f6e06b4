"""Commands for storage nodes, which the API calls backends."""

from functools import partial
from typing import Any

import click

from provisionerctl import names, output
from provisionerctl.client import Body, Client
from provisionerctl.complete import HOST, NODE
from provisionerctl.errors import NO_CHANGE, Exit, Failure
from provisionerctl.options import Clearable, noun, with_confirmation, with_watch
from provisionerctl.output import Column, Row
from provisionerctl.session import Session, pass_session
from provisionerctl.units import ago_text, limit_text, rate_text, size_text

nodes = noun("nodes", "list", "Storage nodes.")
LOCATION = ("rack", "zone", "region")


def scheduling(row: Row) -> str:
    """Return whether new replicas are placed on a node, as text."""
    return "yes" if row["inUse"] else "cordoned"


def used(row: Row) -> int | None:
    """Return the used capacity of a node in bytes. None: the caller may not see it."""
    if "totalCapacity" not in row:
        return None
    return int(row["totalCapacity"] - row["availableCapacity"])


COLUMNS = (
    Column("NAME", "name"),
    Column("ID", "persistentID"),
    Column("HEALTH", "health"),
    Column("SCHEDULING", scheduling),
    Column("ZONE", "zone"),
    Column("RACK", "rack"),
    Column("VOLUMES", "numVolumes"),
    Column("USED", used, size_text),
    Column("TOTAL", "totalCapacity", size_text),
    Column("STATE", "state", wide=True),
    Column("HEALTH REASON", "healthReason", wide=True),
    Column("REGION", "region", wide=True),
    Column("ADDRESS", "mgmtIPs", wide=True),
    Column("PORT", "mgmtPort", wide=True),
    Column("VERSION", "version", wide=True),
    Column("SSDS", "numberOfSSDs", wide=True),
    Column("FREE IOPS", "availableIOPS", limit_text, wide=True),
    Column("FREE BANDWIDTH", "availableBW", rate_text, wide=True),
    Column("LAST PROBE", "lastProbTime", ago_text, wide=True),
    Column("HOST", "hostId", wide=True),
    Column("WAITS FOR", "waitsFor", wide=True),
)
PORTALS = (Column("PORTAL", "ip"), Column("PORT", "port"), Column("TRANSPORT", "transport"))


@nodes.command("list", csv=True)
@with_watch
@pass_session
def list_(session: Session) -> None:
    """List all storage nodes."""
    session.list(lambda: session.client.get("backends"), COLUMNS)


@nodes.command(csv=True)
@click.argument("node", type=NODE)
@with_watch
@pass_session
def show(session: Session, node: str) -> None:
    """Show a storage node with its portals."""

    def draw(row: Row) -> Any:
        return output.sections(
            output.details(row, COLUMNS), output.table(row["portals"], PORTALS, wide=True)
        )

    session.show(lambda: names.node(session.client, node), draw, COLUMNS)


def with_location_options(command: Any, cls: type[click.Option] = click.Option) -> Any:
    """Add the options for the location of a node to a command. ``cls``: their class."""
    for name in LOCATION:
        text = f"{name.capitalize()} of the node."
        command = click.option(f"--{name}", cls=cls, help=text)(command)
    text = "Host in which the node runs."
    command = click.option("--host", cls=cls, type=HOST, help=text)(command)
    return click.option(
        "--node-token-file",
        type=click.File(),
        help="File with the node's own token, if it does not use mutual TLS; - is stdin.",
    )(command)


def fields(client: Client, *, host: str | None, node_token_file: Any, **given: Any) -> Body:
    """Return the options that were given, by the names of the API."""
    made = given | {"hostId": names.known_or_new(names.host, client, host) if host else host}
    if node_token_file:
        made["nodeToken"] = node_token_file.read().strip()
    return {name: value for name, value in made.items() if value is not None}


@nodes.command()
@click.argument("address", nargs=-1, required=True)
@click.option("--port", type=int, default=443, show_default=True, help="Management port.")
@click.option("--take-over", is_flag=True, help="Add a node even if it belongs to another pool.")
@with_location_options
@pass_session
def add(
    session: Session, /, address: tuple[str, ...], port: int, take_over: bool, **at: Any
) -> None:
    """Add the storage node at these management addresses, which are tried in order."""
    body = {"mgmtIPs": list(address), "mgmtPort": port} | fields(session.client, **at)
    if take_over:
        body["takeOver"] = True
    answer = session.client.change("POST", "backends", body=body)
    session.done(answer, f"Node {answer.get('persistentID', '')} was added.")


@nodes.command("set")
@click.argument("node", type=NODE)
@click.option("--address", multiple=True, help="New management address; may be repeated.")
@click.option("--port", type=int, help="Management port.")
@partial(with_location_options, cls=Clearable)
@pass_session
def set_(
    session: Session, /, node: str, address: tuple[str, ...], port: int | None, **at: Any
) -> None:
    """Change properties of a storage node. An empty text clears a place or the host."""
    changes = fields(session.client, mgmtPort=port, mgmtIPs=list(address) or None, **at)
    if not changes:
        raise Failure(NO_CHANGE, Exit.USAGE)
    _update(session, node, changes, "was changed")


@nodes.command()
@click.argument("node", type=NODE)
@pass_session
def cordon(session: Session, node: str) -> None:
    """Place no new replicas on a storage node. Its existing replicas stay usable."""
    _update(session, node, {"inUse": False}, "is cordoned")


@nodes.command()
@click.argument("node", type=NODE)
@pass_session
def uncordon(session: Session, node: str) -> None:
    """Place new replicas on a storage node again. This ends a drain of the node."""
    _update(session, node, {"inUse": True}, "is used again")


def _update(session: Session, node: str, body: Body, done: str) -> None:
    answer = session.client.change(
        "PUT", "backends", names.node_id(session.client, node), body=body
    )
    session.done(answer, f"Node {node} {done}.")


@nodes.command()
@click.argument("node", type=NODE)
@click.option("--force", is_flag=True, help="Remove an Unavailable node even if it has volumes.")
@with_confirmation
@pass_session
def remove(session: Session, node: str, force: bool) -> None:
    """Remove a storage node from the pool."""
    row = names.node(session.client, node)
    held = f", which holds {row['numVolumes']} volumes" if row.get("numVolumes") else ""
    session.confirm(f"Remove node {row['name']} ({row['persistentID']}){held}?")
    query = {"force": "true"} if force else {}
    answer = session.client.change("DELETE", "backends", row["persistentID"], query=query)
    session.done(answer, f"Node {node} was removed.")
