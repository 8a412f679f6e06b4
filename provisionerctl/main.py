"""The program: it has all commands, and handles errors."""

import os
import sys
from importlib.metadata import PackageNotFoundError, version

import click

from provisionerctl.commands import (
    access,
    api,
    contexts,
    drains,  # noqa: F401 - its commands are those of nodes
    events,
    hosts,
    nodes,
    pool,
    replicas,
    snapshots,
    status,
    tasks,
    tenants,
    volumes,
)
from provisionerctl.errors import Exit
from provisionerctl.options import Root

DEBUG = "PROVISIONERCTL_DEBUG"


def installed_version() -> str:
    """Return the version of the installed package. The source tree has none."""
    try:
        return version("provisionerctl")
    except PackageNotFoundError:
        return "not installed"


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(installed_version(), message="%(version)s")
def cli() -> None:
    """Operate a pool of storage nodes through the provisioner's API.

    Options of the connection come from the command line, then from the environment
    (PROVISIONERCTL_URL, _USER, _PASSWORD, _TOKEN, _CA, _CERTIFICATE, _KEY, _TENANT, _INSECURE),
    then from the context (provisionerctl context).
    """


COMMANDS = (
    status.status,
    nodes.nodes,
    volumes.volumes,
    volumes.expand,
    replicas.replicas,
    snapshots.snapshots,
    snapshots.clones,
    hosts.hosts,
    hosts.publish,
    hosts.unpublish,
    hosts.connect,
    hosts.disconnect,
    hosts.targets,
    tasks.tasks,
    events.events,
    tenants.tenants,
    access.tokens,
    access.users,
    access.auth_server,
    pool.licence,
    pool.syslog,
    pool.inventory,
    pool.metrics,
    api.api,
    contexts.context,
    contexts.completion,
)
for command in COMMANDS:
    cli.add_command(command)
cli.add_command(pool.licence, "license")


def main() -> None:
    """Run the command line. An error is shown as a sentence, never as a traceback."""
    try:
        cli(prog_name="provisionerctl")
    except OSError as error:
        if os.environ.get(DEBUG):
            raise
        # what is not written yet would make the interpreter fail at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        click.echo(f"Error: Input or output failed: {error.strerror or error}.", err=True)
        sys.exit(Exit.REFUSED)
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        click.echo(
            f"Error: {type(error).__name__}: {error}. This is a bug of provisionerctl, or the "
            f"server is not a provisioner; {DEBUG}=1 shows the traceback.",
            err=True,
        )
        sys.exit(Exit.REFUSED)
