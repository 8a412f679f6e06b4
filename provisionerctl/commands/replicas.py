"""Commands for replicas of volumes."""

import click

from provisionerctl import names, progress
from provisionerctl.complete import VOLUME
from provisionerctl.errors import Exit, Failure
from provisionerctl.options import noun, with_confirmation, with_wait, with_watch
from provisionerctl.output import Column
from provisionerctl.paths import at
from provisionerctl.session import Session, pass_session
from provisionerctl.units import span_text

replicas = noun("replicas", "list", "Replicas of volumes.")
REPORTED = ("Available", "Synchronizing", "Missing")
STATES = (*REPORTED, "Unknown", "Terminating")
COLUMNS = (
    Column("REPLICA", "uuid"),
    Column("VOLUME", "alias"),
    Column("NODE", "backend.persistentID"),
    Column("STATE", "replicaState"),
    Column("SINCE", lambda row: row["currentStateTime"] / 1000 or None, span_text),
    Column("PUBLISHED", "inUse"),
    Column("WAITS FOR", "waitsFor", wide=True),
)


@replicas.command("list", csv=True)
@click.argument("volume", type=VOLUME, required=False)
@click.option(
    "--state", type=click.Choice(STATES, case_sensitive=False), help="Only in this state."
)
@with_watch
@pass_session
def list_(session: Session, volume: str | None, state: str | None) -> None:
    """List the replicas of a volume, or of all volumes."""
    client = session.client

    def fetch() -> list[dict[str, object]]:
        rows = [names.volume(client, volume)] if volume else client.pages("volumes", key="uuid")
        every = [one | {"alias": row["alias"]} for row in rows for one in row["location"]]
        return [one for one in every if state in {None, one["replicaState"]}]

    session.list(fetch, COLUMNS)


@replicas.command()
@click.argument("volume", type=VOLUME)
@click.option("--rack", multiple=True, help="Only in this rack; may be repeated.")
@click.option("--zone", multiple=True, help="Only in this zone; may be repeated.")
@click.option("--region", multiple=True, help="Only in this region; may be repeated.")
@click.option("--same-rack", is_flag=True, help="Allow a rack that already has a replica.")
@with_wait
@pass_session
def add(
    session: Session,
    *,
    volume: str,
    rack: tuple[str, ...],
    zone: tuple[str, ...],
    region: tuple[str, ...],
    same_rack: bool,
    wait: bool,
) -> None:
    """Add a replica on another storage node."""
    uuid = names.volume(session.client, volume)["uuid"]
    body = {"racks": list(rack), "zones": list(zone), "regions": list(region)}
    if same_rack:
        body |= {"sameRackAllowed": True}  # type: ignore[dict-item]
    answer = session.client.change("POST", "replica", uuid, body=body)
    going_on = progress.rebuilds(session.client, uuid) if wait else []
    session.done(answer, f"A replica of {volume} was added.")
    for task in going_on:
        progress.follow_task(session, task["taskId"])


@replicas.command()
@click.argument("volume", type=VOLUME)
@click.argument("replica")
@with_confirmation
@pass_session
def remove(session: Session, volume: str, replica: str) -> None:
    """Mark a replica for removal, which its host confirms. Without a host, remove it at once."""
    row = names.volume(session.client, volume)
    if replica not in {one["uuid"] for one in row["location"]}:
        raise Failure(f"Volume {volume} has no replica {replica!r}.", Exit.NOT_FOUND)
    session.confirm(f"Remove the replica {replica} of volume {row['alias']}?")
    answer = session.client.change("PATCH", "replica", row["uuid"], replica)
    left = session.client.one("volumes", row["uuid"]) or {"location": []}
    marked = replica in {one["uuid"] for one in left["location"]}
    session.done(
        answer, f"The replica {replica} {'is marked for removal' if marked else 'was removed'}."
    )


@replicas.command()
@click.argument("volume", type=VOLUME)
@click.argument("replica")
@with_confirmation
@pass_session
def confirm(session: Session, volume: str, replica: str) -> None:
    """Confirm, instead of the host, that it no longer uses a Terminating replica."""
    uuid = names.volume(session.client, volume)["uuid"]
    session.confirm(f"Remove the replica {replica}? A host that still uses it gets errors.")
    answer = session.client.change("DELETE", "replica", uuid, replica)
    session.done(answer, f"The replica {replica} was removed.")


@replicas.command()
@click.argument("volume", type=VOLUME)
@click.argument("replica")
@click.argument("state", type=click.Choice(REPORTED, case_sensitive=False))
@pass_session
def report(session: Session, volume: str, replica: str, state: str) -> None:
    """Report the state of a replica as a host's agent does."""
    uuid = names.volume(session.client, volume)["uuid"]
    path = at("replica", uuid, replica, state)
    answer = session.client.call("PATCH", path, repeatable=True)
    session.done(answer, f"The replica {replica} is {state}.")
