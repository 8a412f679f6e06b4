"""Commands for snapshots, snapshot volumes and clones."""

from typing import Any

import click

from provisionerctl import names, output
from provisionerctl.client import Body
from provisionerctl.complete import SNAPSHOT, VOLUME
from provisionerctl.options import noun, with_confirmation, with_idempotency_key, with_watch
from provisionerctl.output import Column
from provisionerctl.session import Session, pass_session
from provisionerctl.units import Size, ago_text, size_text

snapshots = noun("snapshots", "list", "Snapshots, and volumes of snapshots.")
clones = noun("clones", "", "Clones of volumes.")
clones.help = "Clones of volumes. They are volumes: provisionerctl volumes lists them."
PERCENT = click.IntRange(0, 100)
COLUMNS = (
    Column("ALIAS", "alias"),
    Column("VOLUME", "volumeID"),
    Column("SIZE", "capacity", size_text),
    Column("RESERVED", "reservedSpace", size_text),
    Column("TAKEN", "timestamp", ago_text),
    Column("TENANT", "tenantId"),
    Column("ID", "snapshotID", wide=True),
    Column("REPLICA", "replicaID", wide=True),
    Column("WAITS FOR", "waitsFor", wide=True),
)


def without_none(**values: Any) -> Body:
    """Return the values that are not None."""
    return {name: value for name, value in values.items() if value not in (None, False)}


@snapshots.command("list", csv=True)
@click.option("--volume", type=VOLUME, help="Only snapshots of this volume.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N.")
@with_watch
@pass_session
def list_(session: Session, volume: str | None, limit: int | None) -> None:
    """List snapshots."""
    client = session.client
    path = ("snapshots_by_vol", names.volume(client, volume)["uuid"]) if volume else ("snapshots",)
    session.list(lambda: client.pages(*path, key="snapshotID", limit=limit or 0), COLUMNS)


@snapshots.command(csv=True)
@click.argument("snapshot", type=SNAPSHOT)
@with_watch
@pass_session
def show(session: Session, snapshot: str) -> None:
    """Show a snapshot."""
    session.show(
        lambda: names.snapshot(session.client, snapshot),
        lambda row: output.details(row, COLUMNS),
        COLUMNS,
    )


@snapshots.command()
@click.argument("volume", type=VOLUME)
@click.argument("alias")
@click.option("--reserve", type=PERCENT, metavar="PERCENT", help="Space for what changes.")
@click.option("--id", "identifier", help="Id of the new snapshot; default: the API generates one.")
@with_idempotency_key
@pass_session
def create(
    session: Session, volume: str, alias: str, reserve: int | None, identifier: str | None
) -> None:
    """Create a snapshot of a volume with one replica."""
    uuid = names.volume(session.client, volume)["uuid"]
    options = without_none(snapshotID=identifier, reservedSpacePercentage=reserve)
    body = {"alias": alias, "volumeID": uuid} | options
    answer = session.client.change("POST", "snapshots", body=body)
    session.done(answer, f"Snapshot {alias} of {volume} was taken.")


@snapshots.command()
@click.argument("snapshot", type=SNAPSHOT)
@with_confirmation
@pass_session
def delete(session: Session, snapshot: str) -> None:
    """Delete a snapshot that has no volume."""
    row = names.snapshot(session.client, snapshot)
    session.confirm(f"Delete snapshot {row['alias']} ({row['snapshotID']})?")
    answer = session.client.change("DELETE", "snapshots", row["snapshotID"])
    session.done(answer, f"Snapshot {row['alias']} was deleted.")


@snapshots.command("create-volume")
@click.argument("snapshot", type=SNAPSHOT)
@click.argument("alias")
@click.option("--writable", is_flag=True, help="Hosts may write to the volume.")
@click.option("--reserve", type=PERCENT, metavar="PERCENT", help="Space to reserve for changes.")
@click.option("--max-iops-per-gib", type=int, help="Limit that the node enforces; 0: none.")
@click.option("--max-bandwidth-per-gib", type=int, help="The same, in bytes per second.")
@click.option("--class", "class_name", metavar="NAME", help="Name of the storage class.")
@click.option("--span", is_flag=True, help="Allow a replica over several SSDs of its node.")
@click.option(
    "--protocol",
    type=click.Choice(["NVMeoF", "Local"], case_sensitive=False),
    help="Local: only for the host in which the node runs.",
)
@click.option("--uuid", help="Uuid of the new volume; default: the API generates one.")
@with_idempotency_key
@pass_session
def create_volume(session: Session, /, snapshot: str, alias: str, **options: Any) -> None:
    """Make the content of a snapshot accessible as a volume."""
    wire = {
        "reserve": "reservedSpacePercentage",
        "max_iops_per_gib": "maxIOPSPerGB",
        "max_bandwidth_per_gib": "maxBWPerGB",
        "class_name": "storageClassName",
        "span": "allowSpan",
        "uuid": "volumeID",
    }
    row = names.snapshot(session.client, snapshot)
    body = {"alias": alias, "snapshotID": row["snapshotID"]}
    body |= without_none(**{wire.get(name, name): value for name, value in options.items()})
    answer = session.client.change("POST", "snapshot_volumes", body=body)
    session.done(answer, f"Volume {alias} shows the snapshot {snapshot}.")


@clones.command("create")
@click.argument("volume", type=VOLUME)
@click.argument("alias")
@click.option("--size", type=Size(), help="Size in GiB, if larger than the source.")
@click.option("--reserve", type=PERCENT, metavar="PERCENT", help="Space to reserve.")
@click.option("--uuid", help="Uuid of the new volume; default: the API generates one.")
@with_idempotency_key
@pass_session
def create_clone(
    session: Session,
    *,
    volume: str,
    alias: str,
    size: int | None,
    reserve: int | None,
    uuid: str | None,
) -> None:
    """Create a thin volume with the present content of another volume."""
    source = names.volume(session.client, volume)["uuid"]
    options = without_none(capacity=size, reservedSpacePercentage=reserve, volumeId=uuid)
    body = {"sourceVolumeId": source, "alias": alias} | options
    answer = session.client.change("POST", "clone_volume", body=body)
    session.done(answer, f"Volume {alias} is a clone of {volume}.")
