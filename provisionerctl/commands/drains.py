"""Commands that take storage nodes out of service: drains and maintenance."""

from typing import Any

import click

from provisionerctl import names, output, progress
from provisionerctl.commands.nodes import nodes
from provisionerctl.complete import NODE
from provisionerctl.errors import Exit, Failure, Refused
from provisionerctl.options import with_wait, with_watch
from provisionerctl.output import Column, Row
from provisionerctl.paths import at
from provisionerctl.session import Session, pass_session

MAINTENANCE_EFFECTS = (
    Column("VOLUME", "alias"),
    Column("LOSES", "loses"),
    Column("REASON", "reason"),
    Column("TENANT", "tenantId"),
    Column("UUID", "volumeID", wide=True),
    Column("REPLICA", "replicaID", wide=True),
)


@nodes.command()
@click.argument("node", type=NODE)
@with_wait
@pass_session
def drain(session: Session, node: str, wait: bool) -> None:
    """Cordon a storage node and move its replicas to other nodes, a few at a time."""
    client = session.client
    key = names.node_id(client, node)
    answer = client.call("POST", at("backends", key, "drain"), repeatable=True)
    if not wait:
        session.done(
            answer, f"Node {node} is being drained: provisionerctl nodes drain-status {node}"
        )
        return
    try:
        progress.follow_drain(session, key)
    except Refused as error:
        if error.status != "NotExists":
            raise
        raise Failure(f"The drain of {node} was stopped.", Exit.TASK_FAILED) from None
    if not session.is_machine_readable:
        session.console.print(f"Node {node} is drained.")


@nodes.command("drain-status")
@click.argument("node", type=NODE)
@with_watch
@pass_session
def drain_status(session: Session, node: str) -> None:
    """Show the progress of a drain, and the reasons why replicas cannot be moved."""
    progress.show_drain(session, names.node_id(session.client, node))


@nodes.command("drain-stop")
@click.argument("node", type=NODE)
@pass_session
def drain_stop(session: Session, node: str) -> None:
    """Stop a drain. Replicas that are moving stay on the node."""
    answer = session.client.change(
        "DELETE", "backends", names.node_id(session.client, node), "drain"
    )
    session.done(answer, f"The drain of {node} is stopped.")


@nodes.command()
@click.argument("node", type=NODE)
@pass_session
def maintenance(session: Session, node: str) -> None:
    """List the volumes that would lose access or redundancy if the node stopped now."""
    key = names.node_id(session.client, node)

    def draw(found: Row) -> Any:
        if found["safe"]:
            return f"{node} can be stopped: no volume loses access or redundancy."
        heading = (
            f"If {node} stops: volumes that lose access: {found['accessLost']}, volumes that lose "
            f"redundancy: {found['redundancyLost']}."
        )
        return output.sections(
            heading, output.table(found["volumes"], MAINTENANCE_EFFECTS, wide=session.wide)
        )

    session.show(lambda: session.client.get("backends", key, "maintenance"), draw)
