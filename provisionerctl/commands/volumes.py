"""Commands for volumes."""

from typing import Any

import click
from rich.text import Text

from provisionerctl import names, output, progress
from provisionerctl.client import Body
from provisionerctl.commands.creation import PLACED, REFUSED, body_of, with_placement_options
from provisionerctl.complete import HOST, NODE, VOLUME
from provisionerctl.errors import Exit, Failure
from provisionerctl.options import (
    Command,
    noun,
    with_confirmation,
    with_idempotency_key,
    with_wait,
    with_watch,
)
from provisionerctl.output import Column, Row
from provisionerctl.session import Session, pass_session
from provisionerctl.units import Size, limit_text, size_text, span_text

volumes = noun("volumes", "list", "Volumes.")
HEALTH = ("Healthy", "Rebuilding", "Degraded", "Unknown", "Faulted")


def replicas(row: Row) -> str:
    """Return the number of replicas by state, for example ``2 Available, 1 Missing``."""
    states = [location["replicaState"] for location in row["location"]]
    return ", ".join(f"{states.count(one)} {one}" for one in dict.fromkeys(states))


def colour(text: str) -> Any:
    return Text(text, style=output.STYLES["Missing"] if "Missing" in text else "")


COLUMNS = (
    Column("ALIAS", "alias"),
    Column("SIZE", "capacity", size_text),
    Column("TYPE", "provisioningType"),
    Column("HEALTH", "health"),
    Column("REPLICAS", replicas, colour),
    Column("PUBLISHED", "inUse", output.plain),
    Column("TENANT", "tenantId"),
    Column("UUID", "uuid", wide=True),
    Column("HEALTH REASON", "healthReason", wide=True),
    Column("NODES", lambda row: [one["backend"]["persistentID"] for one in row["location"]],
           wide=True),
    Column("CLASS", "storageClassName", wide=True),
    Column("PROTOCOL", "protocol", wide=True),
    Column("RESERVED", "reservedSpace", size_text, wide=True),
    Column("BLOCK SIZE", "blockSize", wide=True),
    Column("MAX IOPS", "maxIOPS", limit_text, wide=True),
    Column("MAX BANDWIDTH", "maxBW", limit_text, wide=True),
    Column("SNAPSHOT", "snapshotID", wide=True),
    Column("WAITS FOR", "waitsFor", wide=True),
)  # fmt: skip


@volumes.command("list", csv=True)
@click.option("--host", type=HOST, help="Only volumes that are published to this host.")
@click.option("--node", type=NODE, help="Only volumes with a replica on this storage node.")
@click.option(
    "--health",
    type=click.Choice(HEALTH, case_sensitive=False),
    help="Only volumes with this health.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N.")
@with_watch
@pass_session
def list_(
    session: Session, host: str | None, node: str | None, health: str | None, limit: int | None
) -> None:
    """List volumes, in the order of their uuids."""
    client = session.client
    wanted = {
        "hostID": names.host(client, host) if host else None,
        "backendId": names.node_id(client, node) if node else None,
        "health": health,
    }
    session.list(lambda: client.pages("volumes", key="uuid", limit=limit or 0, **wanted), COLUMNS)


@volumes.command(csv=True)
@click.argument("volume", type=VOLUME)
@with_watch
@pass_session
def show(session: Session, volume: str) -> None:
    """Show a volume: its replicas with their nodes, SSDs and hosts, and active rebuilds."""
    client = session.client
    uuid = names.volume(client, volume)["uuid"]
    nodes = names.node_names(client)
    columns = (
        Column("REPLICA", "uuid"),
        Column("NODE", lambda row: nodes.get(row["backend"]["persistentID"], "gone")),
        Column("STATE", "replicaState"),
        Column("SINCE", lambda row: row["currentStateTime"] / 1000 or None, span_text),
        Column("SSDS", lambda row: [part["ssdName"] for part in row["subVolumes"]]),
        Column("HOSTS", lambda row: [one["hostID"] for one in row.get("sessions", ())]),
        Column("WAITS FOR", "waitsFor"),
    )

    def draw(row: Row) -> Any:
        parts = [output.details(row, COLUMNS), output.table(row["location"], columns)]
        if going_on := progress.rebuilds(client, uuid):
            parts.append(output.table(going_on, progress.COLUMNS, wide=session.wide))
        return output.sections(*parts)

    session.show(lambda: names.volume_extended(client, uuid), draw, COLUMNS)


@volumes.command()
@click.argument("alias")
@click.argument("size", type=Size())
@with_placement_options
@click.option(
    "--dry-run", is_flag=True, help="Show where the replicas would be placed, and change nothing."
)
@with_idempotency_key
@pass_session
def create(session: Session, /, alias: str, size: int, dry_run: bool, **options: Any) -> None:
    """Create a volume of SIZE GiB. SIZE may have a unit, as in 2TiB.

    If several nodes are equally suitable, the uuid decides. So a dry run shows the nodes of the
    later command only if both have the same --uuid.
    """
    if host := options["on_host"]:
        options["on_host"] = names.known_or_new(names.host, session.client, host)
    body = body_of(alias, size, **options)
    query = {"dryRun": "true"} if dry_run else {}
    answer = session.client.change("POST", "volumes", body=body, query=query)
    if not dry_run:
        session.done(answer, f"Volume {alias} was created: {answer.get('uuid', '')}")
        return
    _planned(session, answer)
    if len(answer["chosen"]) < (options["replicas"] or 1):
        raise Failure(answer["explanation"], Exit.NO_ROOM)


def _planned(session: Session, answer: Body) -> None:
    """Show the result of a dry run: the nodes where the volume would be placed."""
    known = names.node_names(session.client)

    def named(rows: list[Row]) -> list[Row]:
        return [row | {"name": known.get(row["backend"]["persistentID"])} for row in rows]

    def draw(found: Body) -> Any:
        tables = ((found["chosen"], PLACED), (found["refused"], REFUSED))
        return output.sections(
            *(output.table(named(r), c, wide=session.wide) for r, c in tables if r)
        )

    session.show(lambda: answer, draw)


@click.command(cls=Command)
@click.argument("volume", type=VOLUME)
@click.argument("size", type=Size())
@with_idempotency_key
@pass_session
def expand(session: Session, volume: str, size: int) -> None:
    """Expand a volume to SIZE GiB, on all its replicas or on none."""
    uuid = names.volume(session.client, volume)["uuid"]
    answer = session.client.change("PATCH", "volumes", uuid, body={"newCapacity": size})
    session.done(answer, f"Volume {volume} now has {size} GiB.")


volumes.add_command(expand)


@volumes.command()
@click.argument("volume", type=VOLUME)
@with_confirmation
@pass_session
def delete(session: Session, volume: str) -> None:
    """Delete a volume with all its data."""
    row = names.volume(session.client, volume)
    session.confirm(
        f"Delete volume {row['alias']} ({row['uuid']}, {size_text(row['capacity'])}) "
        "and all its data?"
    )
    answer = session.client.change("DELETE", "volumes", row["uuid"])
    session.done(answer, f"Volume {row['alias']} was deleted.")


@volumes.command()
@click.argument("volume", type=VOLUME)
@click.option(
    "--replica", help="Uuid of the replica to move; default: a replica on a cordoned node."
)
@click.option("--to", type=NODE, help="Storage node that gets the new replica.")
@click.option(
    "--by",
    type=click.Choice(["AGENT", "PROVISIONER"], case_sensitive=False),
    help="Who carries out the migration; default: the host's agent, if the host has one.",
)
@with_wait
@pass_session
def migrate(
    session: Session,
    *,
    volume: str,
    replica: str | None,
    to: str | None,
    by: str | None,
    wait: bool,
) -> None:
    """Move a replica of a volume to another storage node."""
    client = session.client
    given = {
        "volId": names.volume(client, volume)["uuid"],
        "repId": replica,
        "destinationBackendId": names.node_id(client, to) if to else None,
        "migrationHandler": by,
    }
    body = {name: value for name, value in given.items() if value is not None}
    answer = client.change("POST", "migrate_volume", body=body)
    if wait and "taskId" in answer:
        progress.follow_task(session, answer["taskId"])
        return
    session.done(answer, f"A replica of {volume} is being moved: task {answer.get('taskId', '')}")
