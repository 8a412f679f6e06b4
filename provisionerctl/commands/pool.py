"""Commands for the whole pool: licence, syslog servers, inventory, metrics."""

import datetime as dt
from typing import Any

import click
from rich.text import Text

from provisionerctl import output
from provisionerctl.options import Command, noun, with_confirmation, with_watch
from provisionerctl.output import Column, Row
from provisionerctl.session import Session, pass_session

licence = noun("licence", "show", "The licence.")
syslog = noun("syslog", "list", "The syslog servers of the pool.")
inventory = noun("inventory", "list", "Samples of the inventory.")
LEVELS = ("FATAL", "ERROR", "WARN", "INFO")
LICENCE = (
    Column("TYPE", "type"),
    Column("EXPIRES", "expirationDate"),
    Column("NODES AT MOST", "maxBackends"),
)
SYSLOGS = (
    Column("NAME", "name"),
    Column("URL", "url"),
    Column("ACTIVE", "state"),
    Column("TLS", "useTls"),
    Column("ID", "id", wide=True),
    Column("CERTIFICATE", "certFileName", wide=True),
)


def changes(row: Row) -> list[str]:
    """Return the changes of an inventory sample, each as in ``NEW 02:00:00:00:00:01``."""
    return [
        " ".join([one["change"], *(tag["value"] for tag in one["tags"])]) for one in row["changes"]
    ]


SAMPLES = (
    Column(
        "TAKEN",
        "timestamp",
        lambda ms: dt.datetime.fromtimestamp(ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ"),
    ),
    Column("NODES", lambda row: len(row["backends"])),
    Column("SSDS", lambda row: sum(one["numSSDs"] for one in row["backends"])),
    Column("CHANGES", changes),
)


@licence.command(csv=True)
@pass_session
def show(session: Session) -> None:
    """Show the terms of the licence."""
    session.show(
        lambda: session.client.get("license"), lambda row: output.details(row, LICENCE), LICENCE
    )


@licence.command()
@click.argument("file", type=click.File())
@pass_session
def install(session: Session, file: Any) -> None:
    """Install the licence in FILE on all storage nodes; - is stdin."""
    body = {"license": file.read().strip()}
    answer = session.client.change("POST", "license", body=body)
    session.done(answer, "The licence was installed.")


@syslog.command("list", csv=True)
@pass_session
def list_(session: Session) -> None:
    """List the syslog servers in the configuration of the pool's nodes."""
    session.list(lambda: session.client.get("syslog"), SYSLOGS)


@syslog.command()
@click.argument("message")
@click.option("--level", type=click.Choice(LEVELS, case_sensitive=False), default="INFO",
              show_default=True, help="Severity.")  # fmt: skip
@click.option("--type", "kind", type=click.Choice(["EVENT", "COMMAND"]), default="EVENT",
              show_default=True, help="Type of the record; the MSGID of RFC 5424.")  # fmt: skip
@click.option("--host", default="-", help="The HOSTNAME of RFC 5424.")
@click.option("--app", default="provisionerctl", show_default=True, help="The APP-NAME.")
@click.option("--parameter", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@pass_session
def send(
    session: Session,
    *,
    message: str,
    level: str,
    kind: str,
    host: str,
    app: str,
    parameter: tuple[str, ...],
) -> None:
    """Send a record to all syslog servers of the pool."""
    body: dict[str, Any] = {
        "loggingType": kind,
        "level": level,
        "host": host,
        "appName": app,
        "message": message,
    }
    if parameter:
        pairs = (item.partition("=") for item in parameter)
        body["parametersList"] = [{"name": name, "value": value} for name, _, value in pairs]
    session.done(session.client.change("POST", "forward_log", body=body), "The record was sent.")


@inventory.command("list", csv=True)
@pass_session
def samples(session: Session) -> None:
    """List the latest samples with their changes, and start a task that takes a new sample."""
    session.list(lambda: session.client.get("inventory")["inventorySamples"], SAMPLES)


@inventory.command()
@with_confirmation
@pass_session
def reset(session: Session) -> None:
    """Delete all samples, and read every storage node again."""
    session.confirm("Delete all samples of the inventory?")
    answer = session.client.change("DELETE", "reset_inventory")
    session.done(answer, f"Every node is read again: task {answer.get('taskId', '')}")


@click.command(cls=Command)
@click.argument("prefix", required=False)
@with_watch
@pass_session
def metrics(session: Session, prefix: str | None) -> None:
    """Show metrics whose names begin with PREFIX, in the text format of Prometheus."""

    def fetch() -> str:
        lines = str(session.client.get("metrics")).splitlines()
        names = (line.removeprefix("# HELP ").removeprefix("# TYPE ") for line in lines)
        return "\n".join(
            line for line, name in zip(lines, names, strict=True) if name.startswith(prefix or "")
        )

    session.show(fetch, Text)
