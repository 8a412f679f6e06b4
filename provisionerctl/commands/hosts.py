"""Commands for hosts, and for the publication and connection of volumes."""

from typing import Any

import click

from provisionerctl import names, progress
from provisionerctl.complete import HOST, VOLUME
from provisionerctl.options import (
    Command,
    noun,
    with_confirmation,
    with_idempotency_key,
    with_wait,
    with_watch,
)
from provisionerctl.output import Column
from provisionerctl.session import Session, pass_session
from provisionerctl.units import Duration, ago_text

hosts = noun("hosts", "list", "Hosts that use volumes.")
COLUMNS = (
    Column("NAME", "name"),
    Column("ID", "uuid"),
    Column("STATE", "state"),
    Column("TYPE", "clientType"),
    Column("AGENT", "hasAgent"),
    Column("LAST PROBE", "lastProbTime", ago_text),
    Column("NQN", "nqn", wide=True),
    Column("VERSION", "version", wide=True),
    Column("MULTIPATH", "multipath", wide=True),
)
TARGETS = (
    Column("NQN", "name"),
    Column("HOST", "hostTargetConnectedTo"),
    Column("NAMESPACES", "numNamespaces"),
    Column("NODES", lambda row: [one["persistentID"] for one in row["connectedBackends"]]),
    Column("NAMESPACE ID", "namespaceId", wide=True),
    Column("ALIAS", "alias", wide=True),
)


@hosts.command("list", csv=True)
@click.option("--name", help="Only hosts of this name.")
@with_watch
@pass_session
def list_(session: Session, name: str | None) -> None:
    """List the registered hosts."""
    session.list(lambda: session.client.pages("hosts", key="uuid", hostName=name), COLUMNS)


@hosts.command()
@click.argument("host")
@click.argument("nqn")
@click.option("--name", help="Display name; default: the id.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(["Kubernetes", "Agent", "Openstack"], case_sensitive=False),
    default="Agent",
    show_default=True,
    help="What probes.",
)
@click.option("--version", default="1.0", show_default=True, help="Version of the agent or driver.")
@click.option(
    "--every",
    type=Duration(),
    default="1h",
    show_default=True,
    help="Time until the next probe. A host that is silent for three times as long is Unavailable.",
)
@click.option("--multipath", is_flag=True, help="The host uses several paths to a target.")
@pass_session
def probe(
    session: Session,
    *,
    host: str,
    nqn: str,
    name: str | None,
    kind: str,
    version: str,
    every: int,
    multipath: bool,
) -> None:
    """Send a probe of a host, as its agent does. The first probe registers the host."""
    body = {
        "hostId": host,
        "hostNqn": nqn,
        "name": name or host,
        "clientType": kind,
        "version": version,
        "duration": every,
        "multipath": multipath,
    }
    session.done(
        session.client.change("POST", "host_probe", body=body), f"Host {host} is registered."
    )


@hosts.command()
@click.argument("host", type=HOST)
@with_confirmation
@pass_session
def remove(session: Session, host: str) -> None:
    """Remove a host that is Unavailable. Its volumes are unpublished first."""
    key = names.host(session.client, host)
    session.confirm(f"Remove host {host} ({key}) and unpublish its volumes?")
    session.done(session.client.change("DELETE", "hosts", key), f"Host {host} was removed.")


@click.command(cls=Command, csv=True)
@click.option("--host", type=HOST, help="Only the target of this host.")
@click.option("--volume", type=VOLUME, help="Only targets that contain this volume.")
@with_watch
@pass_session
def targets(session: Session, host: str | None, volume: str | None) -> None:
    """List the NVMe-oF targets of hosts."""
    client = session.client
    query = {
        "hostId": names.host(client, host) if host else None,
        "volId": names.volume(client, volume)["uuid"] if volume else None,
    }
    session.list(lambda: client.get("targets", **query), TARGETS)


def _both(session: Session, volume: str, host: str) -> dict[str, Any]:
    client = session.client
    return {"volId": names.volume(client, volume)["uuid"], "hostId": names.host(client, host)}


@click.command(cls=Command)
@click.argument("volume", type=VOLUME)
@click.argument("host", type=HOST)
@with_idempotency_key
@pass_session
def publish(session: Session, volume: str, host: str) -> None:
    """Make a volume accessible to a host. A repeat creates exports that are missing on nodes."""
    body = _both(session, volume, host)
    answer = session.client.change("POST", "publish", body=body)
    session.done(answer, f"Volume {volume} is published to {body['hostId']}.")


@click.command(cls=Command)
@click.argument("volume", type=VOLUME)
@click.argument("host", type=HOST, required=False)
@with_confirmation
@pass_session
def unpublish(session: Session, volume: str, host: str | None) -> None:
    """Unpublish a volume from a host, or from all hosts if no host is given."""
    if host is not None:
        body = _both(session, volume, host)
    else:
        body = {"volId": names.volume(session.client, volume)["uuid"]}
        session.confirm(f"Unpublish volume {volume} from all hosts, including hosts that use it?")
    answer = session.client.change("POST", "unpublish", body=body)
    session.done(answer, f"Volume {volume} is no longer published to {host or 'any host'}.")


@click.command(cls=Command)
@click.argument("volume", type=VOLUME)
@click.argument("host", type=HOST)
@with_wait
@pass_session
def connect(session: Session, volume: str, host: str, wait: bool) -> None:
    """Request a host's agent to attach a volume that is published to the host.

    The task is FAILED if the agent does not end it within MIGRATION_SILENCE_SECONDS (600). The
    hosts of the demo never do. tasks stop ends it earlier.
    """
    _asked(session, "connect", volume, host, wait)


@click.command(cls=Command)
@click.argument("volume", type=VOLUME)
@click.argument("host", type=HOST)
@with_wait
@pass_session
def disconnect(session: Session, volume: str, host: str, wait: bool) -> None:
    """Request a host's agent to detach a volume, then unpublish the volume.

    The task is FAILED if the agent does not end it within MIGRATION_SILENCE_SECONDS (600). The
    hosts of the demo never do. tasks stop ends it earlier.
    """
    _asked(session, "disconnect", volume, host, wait)


def _asked(session: Session, verb: str, volume: str, host: str, wait: bool) -> None:
    answer = session.client.change("POST", verb, body=_both(session, volume, host))
    if wait and "taskId" in answer:
        progress.follow_task(session, answer["taskId"])
        return
    task = answer.get("taskId", "")
    session.done(answer, f"The agent of {host} will {verb} {volume}: task {task}")
