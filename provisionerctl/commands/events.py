"""The command for the event log."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import click
from rich.text import Text

from provisionerctl import names, output
from provisionerctl.client import Body
from provisionerctl.complete import HOST, NODE, SNAPSHOT, TASK, TENANT, VOLUME
from provisionerctl.follow import follow_events
from provisionerctl.options import Command, with_watch
from provisionerctl.output import Column
from provisionerctl.session import Session, pass_session

SEVERITIES = ("info", "warning", "error", "critical")
STYLES = {"warning": "yellow", "error": "bold red", "critical": "bold white on red"}
AGO = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _severity(text: str) -> Text:
    return Text(text, style=STYLES.get(text, ""))


COLUMNS = (
    Column("TIME", lambda row: row["time"].partition(".")[0].replace("T", " ")),
    Column("SEVERITY", "severity", _severity),
    Column("NUMBER", "number", wide=True),
    Column("KIND", "kind", wide=True),
    Column("EVENT", "text"),
    Column("BY", lambda row: row["actor"]["name"] or row["actor"]["type"]),
    Column("REQUEST", "requestId", wide=True),
    Column("TENANT", "tenantId", wide=True),
)


class Moment(click.ParamType[str]):
    """A time, for example ``2026-11-23T13:00:00Z``, or a time span before now: ``15m``, ``12h``,
    ``7d``.
    """

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """:raises click.BadParameter: the text is neither."""
        number, unit = value[:-1], AGO.get(value[-1:])
        try:
            if unit and number.isdigit():
                ago = dt.timedelta(**{unit: int(number)})
                return (dt.datetime.now(dt.UTC) - ago).isoformat()
            at = dt.datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a time, such as 12h or 2026-11-23T13:00:00Z", param, ctx)
        return (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).isoformat()


@click.command(cls=Command, csv=True)
@click.option("--volume", type=VOLUME, help="Only of this volume, by alias or uuid.")
@click.option("--snapshot", type=SNAPSHOT, help="Only of this snapshot, by alias or uuid.")
@click.option("--node", type=NODE, help="Only of this storage node.")
@click.option("--host", type=HOST, help="Only of this host.")
@click.option("--task", type=TASK, help="Only of this task, even if it is no longer listed.")
@click.option("--of-tenant", type=TENANT, help="Only of this tenant.")
@click.option(
    "--about", metavar="ID", help="Only of the object with this id, even if it is deleted."
)
@click.option("--kind", multiple=True, help="Only of this kind, VolumeCreated for example.")
@click.option(
    "--severity",
    type=click.Choice(SEVERITIES, case_sensitive=False),
    help="Only of this severity or a higher one.",
)
@click.option("--actor", help="Only events that this user, token, host or job caused.")
@click.option("--request", help="Only events that the request with this id caused.")
@click.option("--since", type=Moment(), help="Only from this time on: 12h, or a time.")
@click.option("--until", type=Moment(), help="Only until this time.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 1000), default=50, help="Number of events; default: 50."
)
@click.option("-f", "--follow", is_flag=True, help="Also show new events until Ctrl-C.")
@with_watch
@pass_session
def events(session: Session, /, *, limit: int, follow: bool, **given: Any) -> None:
    """List the latest events with their objects, actor and reason; the latest event comes last.

    Events of deleted objects are kept. docs/reference/events.md lists all kinds.
    """
    query = _query(session, given)

    def newest() -> list[Body]:
        rows = session.client.get("events", newestFirst="true", limit=limit, **query)
        return list(reversed(rows))

    if not follow:
        session.list(newest, COLUMNS)
        return
    rows = newest()
    after = rows[-1]["number"] if rows else _last_number(session)
    try:
        for row in rows:
            _write(session, row)
        for row in follow_events(session.client, after, follow="true", **query):
            _write(session, row)
    except KeyboardInterrupt:
        return


def _last_number(session: Session) -> int:
    """Return the number of the last event of any kind. Following starts there even if no earlier
    event matches, so that no new event is missed.
    """
    rows = session.client.get("events", newestFirst="true", limit=1)
    return int(rows[0]["number"]) if rows else 0


def _query(session: Session, given: dict[str, Any]) -> Body:
    client = session.client
    query: Body = {
        "severity": given["severity"],
        "actor": given["actor"],
        "requestId": given["request"],
        "since": given["since"],
        "until": given["until"],
        "kind": ",".join(given["kind"]) or None,
    }
    find: dict[str, Callable[[str], str]] = {
        "volume": lambda name: names.volume(client, name)["uuid"],
        "snapshot": lambda name: names.snapshot(client, name)["snapshotID"],
        "backend": lambda name: names.node_id(client, name),
        "host": lambda name: names.host(client, name),
        "task": str,
        "tenant": str,
    }
    named = {**given, "backend": given["node"], "tenant": given["of_tenant"]}
    chosen = [f"{kind}:{find[kind](named[kind])}" for kind in find if named[kind]]
    chosen += [given["about"]] if given["about"] else []
    if len(chosen) > 1:
        raise click.UsageError(
            "Name one object at most: events of several objects cannot be selected."
        )
    return query | ({"about": chosen[0]} if chosen else {})


def _write(session: Session, row: Body) -> None:
    """Print one event as one line."""
    if session.is_machine_readable:
        click.echo(output.document(row, session.format, line=True), nl=False)
    elif session.format == output.Format.CSV:
        click.echo(output.csv_text([row], COLUMNS).splitlines()[1])
    else:
        shown = [column.cell(row) for column in COLUMNS if session.wide or not column.wide]
        line = Text("  ").join(cell for cell in shown if isinstance(cell, Text))
        output.print_trimmed(session.console, line)
