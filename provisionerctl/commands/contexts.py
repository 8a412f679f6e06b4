"""Commands for contexts of the configuration file, and for shell completion."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from provisionerctl import complete
from provisionerctl.config import Context, changed, config_path, load
from provisionerctl.errors import Exit, Failure
from provisionerctl.options import Command, noun
from provisionerctl.output import Column, Row
from provisionerctl.session import Session, pass_session

context = noun("context", "list", "Contexts: the address of an API, with credentials.")
HIDDEN = "(hidden)"
FILES = ("ca", "certificate", "key")


def caller_text(row: Row) -> str:
    """Return a text for the column AS: how the API identifies the caller."""
    return f"user {row['user']}" if row["user"] else "token" if row["token"] else "nobody"


COLUMNS = (
    Column("CURRENT", "current", lambda current: "*" if current else ""),
    Column("NAME", "name"),
    Column("URL", "url"),
    Column("AS", caller_text),
    Column("TENANT", "tenant"),
    Column("CA", "ca", wide=True),
    Column("CERTIFICATE", "certificate", wide=True),
)


class ContextName(click.ParamType[str]):
    name = "context"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(name) for name in complete.contexts(incomplete)]


NAME = ContextName()


def rows() -> list[Row]:
    """Return the contexts, without their secrets."""
    found = load(config_path())
    hidden = {
        name: asdict(one)
        | {"password": HIDDEN if one.password else "", "token": HIDDEN if one.token else ""}
        for name, one in found.contexts.items()
    }
    return [{"name": name, "current": name == found.current} | row for name, row in hidden.items()]


@context.command("list", csv=True)
@pass_session
def list_(session: Session) -> None:
    """List contexts, without their secrets."""
    session.list(rows, COLUMNS)


@context.command("set")
@click.argument("name", type=NAME)
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@click.option("--token-stdin", is_flag=True, help="Read a token from stdin.")
@pass_session
def set_(session: Session, name: str, password_stdin: bool, token_stdin: bool) -> None:
    """Add or change a context. Options of the connection (provisionerctl --help) set its values.

    With --user, the password is asked for on a terminal. The first context becomes the current one.
    """
    if password_stdin and token_stdin:
        raise Failure("Only one of --password-stdin and --token-stdin is possible.", Exit.USAGE)
    given: dict[str, Any] = {k: v for k, v in asdict(session.given).items() if v}
    given |= {name: str(Path(given[name]).absolute()) for name in FILES if name in given}
    if password_stdin or token_stdin:
        given["password" if password_stdin else "token"] = sys.stdin.read().strip()
    elif "user" in given and sys.stdin.isatty():
        given["password"] = click.prompt(f"Password of {given['user']}", hide_input=True, err=True)
    with changed(config_path()) as found:
        found.contexts[name] = Context(**given).merged_over(found.contexts.get(name, Context()))
        found.current = found.current or name
    session.console.print(f"Context {name} was saved in {found.path}.", soft_wrap=True)


@context.command()
@click.argument("name", type=NAME)
@pass_session
def use(session: Session, name: str) -> None:
    """Make a context the current one."""
    with changed(config_path()) as found:
        found.named(name)
        found.current = name
    session.console.print(f"{name} is the current context.")


@context.command()
@click.argument("name", type=NAME)
@pass_session
def delete(session: Session, name: str) -> None:
    """Delete a context with its secrets."""
    with changed(config_path()) as found:
        found.named(name)
        del found.contexts[name]
        found.current = "" if found.current == name else found.current
    session.console.print(f"Context {name} was deleted.")


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, aliases and node names.

    \b
    bash: provisionerctl completion bash > ~/.local/share/bash-completion/completions/provisionerctl
    zsh:  provisionerctl completion zsh > "${fpath[1]}/_provisionerctl"
    fish: provisionerctl completion fish > ~/.config/fish/completions/provisionerctl.fish
    """
    made = get_completion_class(shell)
    if made is None:
        raise Failure(f"There is no completion for {shell}.", Exit.USAGE)
    root = ctx.find_root()
    source = made(root.command, {}, "provisionerctl", "_PROVISIONERCTL_COMPLETE").source()
    click.echo(source)
