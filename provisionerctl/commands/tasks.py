"""Commands for tasks, which are the long operations of the API."""

import click

from provisionerctl import names, output, progress
from provisionerctl.client import Body
from provisionerctl.complete import HOST, TASK, VOLUME
from provisionerctl.errors import NO_CHANGE, Exit, Failure
from provisionerctl.options import noun, with_confirmation, with_interval, with_watch
from provisionerctl.progress import COLUMNS
from provisionerctl.session import Session, pass_session
from provisionerctl.units import Number

tasks = noun("tasks", "list", "Tasks in the background.")
TYPES = (
    *("RemoteMigration", "InstallLicense", "UpdateInventory", "FetchInventory", "ResetInventory"),
    *("ReplicaSync", "ConnectVolume", "DisconnectVolume"),
)
STATES = ("IDLE", "RUNNING", "FINISHED", "FAILED", "ABORTED")


@tasks.command("list", csv=True)
@click.option("--host", type=HOST, help="Only tasks that this host carries out.")
@click.option(
    "--type", "kind", type=click.Choice(TYPES, case_sensitive=False), help="Only of this type."
)
@click.option(
    "--state", type=click.Choice(STATES, case_sensitive=False), help="Only in this state."
)
@click.option("--volume", type=VOLUME, help="Only tasks of this volume, by alias or uuid.")
@with_watch
@pass_session
def list_(
    session: Session, host: str | None, kind: str | None, state: str | None, volume: str | None
) -> None:
    """List active tasks, and tasks that ended recently."""
    own = names.host(session.client, host) if host else None
    uuid = names.volume(session.client, volume)["uuid"] if volume else None

    def fits(row: Body) -> bool:
        of_volume = uuid is None or progress.tag("volId")(row) == uuid
        return of_volume and kind in {None, row["type"]} and state in {None, row["state"]}

    session.list(lambda: [r for r in session.client.get("tasks", hostId=own) if fits(r)], COLUMNS)


@tasks.command(csv=True)
@click.argument("task", type=TASK)
@with_watch
@pass_session
def show(session: Session, task: str) -> None:
    """Show a task with its result."""
    session.show(
        lambda: names.task(session.client, task), lambda row: output.details(row, COLUMNS), COLUMNS
    )


@tasks.command(csv=True)
@click.argument("task", type=TASK)
@with_interval
@pass_session
def wait(session: Session, task: str) -> None:
    """Show the progress of a task until it ends. Exit code: 0 if it is FINISHED, otherwise 8."""
    progress.follow_task(session, task)


@tasks.command()
@click.argument("task", type=TASK)
@pass_session
def stop(session: Session, task: str) -> None:
    """Abort a stoppable task, and undo its steps."""
    _report(session, task, {"state": "ABORTED"}, "is stopped")


@tasks.command()
@click.argument("task", type=TASK)
@click.option("--state", type=click.Choice(STATES, case_sensitive=False), help="New state.")
@click.option("--progress", "percent", type=Number(0, 100), help="Percent.")
@click.option("--result", help="Result code of a task that has ended.")
@click.option("--description", help="Description of the result.")
@pass_session
def report(
    session: Session,
    *,
    task: str,
    state: str | None,
    percent: float | None,
    result: str | None,
    description: str | None,
) -> None:
    """Report the progress or the end of a host's task, as its agent does."""
    given = {
        "state": state,
        "progress": percent,
        "taskStatus": result,
        "statusDescription": description,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise Failure(NO_CHANGE, Exit.USAGE)
    _report(session, task, changes, "is updated")


def _report(session: Session, task: str, changes: Body, done: str) -> None:
    row = names.task(session.client, task)
    body = {"taskId": task, "hostId": row.get("hostId", "")} | changes
    session.done(session.client.change("PUT", "tasks", body=body), f"Task {task} {done}.")


@tasks.command()
@click.argument("task", type=TASK)
@with_confirmation
@pass_session
def remove(session: Session, task: str) -> None:
    """Remove a task that has ended from the list."""
    row = names.task(session.client, task)
    session.confirm(f"Remove the task {task} ({row['type']}, {row['state']}) from the list?")
    query = {"taskId": task, "hostId": row.get("hostId")}
    session.done(session.client.change("DELETE", "tasks", query=query), f"Task {task} was removed.")
