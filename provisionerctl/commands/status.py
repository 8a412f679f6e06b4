"""The command that summarises the state of the pool."""

import datetime as dt
from typing import Any

import click
from rich.console import RenderableType
from rich.text import Text

from provisionerctl import output, progress
from provisionerctl.client import Body, Client, get_all_or_none
from provisionerctl.errors import Exit, Refused
from provisionerctl.options import Command, with_watch
from provisionerctl.output import Column, Row
from provisionerctl.session import Session, pass_session
from provisionerctl.units import size_text

SOON_DAYS = 30
MOST_VOLUMES = 10
"""Volumes of each bad health that are named."""
ATTENTION = (Column("NEEDS ATTENTION", "object"), Column("WHY", "why"))


@click.command(cls=Command)
@with_watch
@pass_session
def status(session: Session) -> None:
    """Show the pool: nodes, space, hosts, active tasks, and problems."""
    session.show(lambda: summary(session.client), lambda row: summary_view(session, row))


def summary(client: Client) -> Body:
    """Return a summary of the pool, from several calls of the API."""
    info = client.get("info")
    paths = [("backends",), ("hosts",), ("tasks",), ("license",)]
    nodes, hosts, tasks, licence = get_all_or_none(client, *paths)
    running = [row for row in tasks or () if row["state"] not in progress.ENDED]
    return {
        "url": client.context.url,
        "health": info["health"],
        "healthReason": info.get("healthReason", ""),
        "authenticationMode": info["authenticationMode"],
        "freeSpace": info["totalFreeSpace"],
        "nodes": None if nodes is None else _nodes(nodes),
        "hosts": None if hosts is None else _states(hosts),
        "licence": licence,
        "tasks": running,
        "attention": [
            *_node_problems(nodes or []),
            *_volume_problems(client),
            *_task_problems(tasks or []),
            *_licence_problems(licence or {}),
        ],
    }


def _states(rows: list[Row]) -> Body:
    available = sum(row["state"] == "Available" for row in rows)
    return {"total": len(rows), "available": available}


def _nodes(rows: list[Row]) -> Body:
    """Callers bound to a tenant see no capacity, so that the sums are None."""
    sums = {
        name: sum(row[name] for row in rows) if all(name in row for row in rows) else None
        for name in ("totalCapacity", "availableCapacity")
    }
    cordoned = sum(not row["inUse"] for row in rows)
    return _states(rows) | {"cordoned": cordoned} | sums


def _node_problems(rows: list[Row]) -> list[Row]:
    found = []
    for row in rows:
        reason, why = row.get("healthReason", ""), row.get("waitsFor", "")
        if row["health"] != "Available":
            why = f"{row['health']}: {reason}; volumes on it: {row.get('numVolumes', '-')}"
        elif reason:
            why = reason
        if why:
            found.append({"object": f"node {row['name']}", "why": why})
    return found


def _volume_problems(client: Client) -> list[Row]:
    """Return the first volumes of each bad health. If the caller may not see volumes, the list is
    empty.
    """
    found: list[Row] = []
    for health in ("Faulted", "Degraded"):
        try:
            rows = client.pages("volumes", key="uuid", limit=MOST_VOLUMES, health=health)
        except Refused as error:
            if error.exit_code != Exit.DENIED:
                raise
            return found
        found += [
            {"object": f"volume {row['alias']}", "why": f"{health}: {row.get('healthReason', '')}"}
            for row in rows
        ]
    return found


def _task_problems(rows: list[Row]) -> list[Row]:
    return [
        {
            "object": f"task {row['taskId']}",
            "why": f"{row['type']} is FAILED: {row.get('statusDescription', '')}",
        }
        for row in rows
        if row["state"] == "FAILED"
    ]


def _licence_problems(row: Row) -> list[Row]:
    if "expirationDate" not in row:
        return []
    end = dt.datetime.fromisoformat(row["expirationDate"]).replace(tzinfo=dt.UTC)
    days = (end - dt.datetime.now(dt.UTC)).days
    why = "has expired" if days < 0 else f"expires in {days} days"
    return [{"object": "licence", "why": why}] if days < SOON_DAYS else []


def summary_view(session: Session, row: Row) -> RenderableType:
    """Return the view of the summary, with the tasks and the problems that need attention."""
    lines = (
        Column("API", "url"),
        Column("HEALTH", _health),
        Column("MODE", "authenticationMode"),
        Column("NODES", "nodes", _counted),
        Column("SPACE", "nodes", _space),
        Column("HOSTS", "hosts", _counted),
        Column("LICENCE", "licence.type"),
    )
    parts: list[Any] = [output.details(row, lines)]
    if row["tasks"]:
        parts.append(output.table(row["tasks"], progress.COLUMNS, wide=session.wide))
    if row["attention"]:
        parts.append(output.table(row["attention"], ATTENTION))
    return output.sections(*parts)


def _health(row: Row) -> str:
    return " - ".join(filter(None, (row["health"], row["healthReason"])))


def _counted(counts: Row) -> RenderableType:
    missing = counts["total"] - counts["available"]
    said = f"{counts['available']} of {counts['total']} Available"
    if counts.get("cordoned"):
        said += f", {counts['cordoned']} cordoned"
    return Text(said, style="bold red" if missing else "green")


def _space(counts: Row) -> str:
    total, free = counts["totalCapacity"], counts["availableCapacity"]
    if total is None:
        return "-"
    percent = 100 * (total - free) / total if total else 0
    return f"{size_text(total - free)} of {size_text(total)} used ({percent:.0f} %)"
