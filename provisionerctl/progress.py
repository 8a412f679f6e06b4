"""Shows active tasks, drains and rebuilds: bars with the rate and the time left."""

from typing import Any

from rich.console import Group, RenderableType
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from provisionerctl import names, output
from provisionerctl.client import Body, Client
from provisionerctl.errors import Exit, Failure
from provisionerctl.output import Column, Row
from provisionerctl.session import Session
from provisionerctl.units import rate_text, seconds_text, size_text

BAR_WIDTH = 24
ENDED = {"FINISHED", "FAILED", "ABORTED"}
MOVING = {"ReplicaSync", "RemoteMigration"}


def bar(percent: float) -> RenderableType:
    """Return a progress bar with its percentage."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=BAR_WIDTH)
    grid.add_column(justify="right", width=5)
    grid.add_row(ProgressBar(100, percent, width=BAR_WIDTH), f"{percent:.0f} %")
    return grid


class _Bar:
    """A progress bar on a terminal, and only the percentage elsewhere."""

    def __init__(self, percent: float) -> None:
        self.percent = percent

    def __rich_console__(self, console: Any, _: Any) -> Any:
        yield bar(self.percent) if console.is_terminal else Text(f"{self.percent:.0f} %")

    def __rich_measure__(self, console: Any, options: Any) -> Any:
        width = BAR_WIDTH + 6 if console.is_terminal else 5
        return Measurement(width, width)


def tag(name: str) -> Any:
    """Return a function that reads a parameter of a task."""

    def read(row: Row) -> Any:
        found = (item["value"] for item in row["taskConfiguration"] if item["name"] == name)
        return next(found, None)

    return read


def about(row: Row) -> str | None:
    """Return the alias or uuid of the volume of a task."""
    return tag("volumeAlias")(row) or tag("volId")(row) or None


COLUMNS = (
    Column("TASK", "taskId"),
    Column("TYPE", "type"),
    Column("STATE", "state"),
    Column("VOLUME", about),
    Column("PROGRESS", "progress", _Bar),
    Column("RATE", "bytesPerSecond", rate_text),
    Column("LEFT", "secondsLeft", seconds_text),
    Column("RESULT", "taskStatus", wide=True),
    Column("HOST", "hostId", wide=True),
    Column("DONE", "bytesDone", size_text, wide=True),
    Column("TOTAL", "bytesTotal", size_text, wide=True),
    Column("STARTED", "startDate", wide=True),
    Column("ENDED", "endDate", wide=True),
    Column("WAITS FOR", "waitsFor", wide=True),
    Column("DESCRIPTION", "statusDescription", wide=True),
)
REFUSALS = (
    Column("VOLUME", "volumeID"),
    Column("REPLICA", "replicaID", wide=True),
    Column("CANNOT MOVE BECAUSE", "reason"),
)


def follow_task(session: Session, identifier: str) -> None:
    """Show a task until it has ended.

    :raises Failure: the task failed or was stopped.
    """
    last = session.show(
        lambda: names.task(session.client, identifier),
        lambda row: output.table([row], COLUMNS, wide=session.wide),
        COLUMNS,
        until=lambda row: row["state"] in ENDED,
    )
    if last["state"] != "FINISHED":
        said = last.get("statusDescription") or last.get("taskStatus") or "no reason was given"
        raise Failure(f"The task {last['type']} is {last['state']}: {said}", Exit.TASK_FAILED)


def show_drain(session: Session, node: str) -> None:
    """Show a drain once or, with ``--watch``, each change."""
    session.show(lambda: _drain(session.client, node), lambda row: _drain_view(session, row))


def follow_drain(session: Session, node: str) -> None:
    """Show a drain until it has ended."""
    session.show(
        lambda: _drain(session.client, node),
        lambda row: _drain_view(session, row),
        until=lambda row: bool(row["done"]),
    )


def _drain(client: Client, node: str) -> Body:
    """Return the drain. Each of its tasks also has the fields from the list of tasks."""
    found = dict(client.get("backends", node, "drain"))
    if found["tasks"]:
        known = {row["taskId"]: row for row in client.get("tasks")}
        found["tasks"] = [row | known.get(row["taskId"], {}) for row in found["tasks"]]
    return found


def _drain_view(session: Session, row: Row) -> RenderableType:
    tasks = [
        task | {"taskConfiguration": task.get("taskConfiguration", [])} for task in row["tasks"]
    ]
    parts = sum(task["progress"] for task in tasks) / 100
    percent = 100 * (row["moved"] + parts) / row["replicas"] if row["replicas"] else 100.0
    said = f"{row['moved']} of {row['replicas']} replicas moved, {row['moving']} moving"
    if row["refused"]:
        said += f", {row['refused']} cannot move now"
    rates = [task["bytesPerSecond"] for task in tasks if task.get("bytesPerSecond")]
    if rates:
        said += f"; {rate_text(sum(rates))}"
    shown: list[RenderableType] = [Group(_Bar(min(percent, 100.0)), said)]
    if tasks:
        columns = [column for column in COLUMNS if column.title != "VOLUME"]
        columns.insert(3, Column("VOLUME", lambda task: about(task) or task.get("volumeID")))
        shown.append(output.table(tasks, columns, wide=session.wide))
    if row["refusals"]:
        shown.append(output.table(row["refusals"], REFUSALS, wide=session.wide))
    return output.sections(*shown)


def rebuilds(client: Client, volume: str) -> list[Body]:
    """Return the active tasks that move or rebuild replicas of a volume."""
    return [
        row
        for row in client.get("tasks")
        if row["type"] in MOVING and row["state"] not in ENDED and tag("volId")(row) == volume
    ]
