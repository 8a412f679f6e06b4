"""Generates docs/reference/cli.md from the commands. ``python -m tests.cli.reference`` writes
it.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from provisionerctl.errors import CODES, MEANINGS, Exit
from provisionerctl.main import cli

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"
HEAD = """# provisionerctl

`provisionerctl` is the command line of the provisioner. It calls only the API, and needs neither
Django nor the server's packages. In a checkout, `pipx install ./provisionerctl` installs it.

`make cli-reference` writes this page from the commands.

## Connection

The options of the connection come from the command line, from the environment, or from a context
of the configuration file, in this order of precedence. The file is
`$XDG_CONFIG_HOME/provisionerctl/config.yaml` (`~/.config/...`), or the file that
`PROVISIONERCTL_CONFIG` names. `provisionerctl context set` writes it with the mode 0600. A file
with secrets that other users may read is refused. A password is read from stdin, from a prompt or
from the environment. There is no option for it, because other users would see it in the list of
processes. They see the token of `--token`: on a machine with other users, set
`PROVISIONERCTL_TOKEN`, or store the token with `provisionerctl context set NAME --token-stdin`.

| option | environment |
| --- | --- |
{connection}
| | `PROVISIONERCTL_PASSWORD` |
| `--context` | `PROVISIONERCTL_CONTEXT` |

Names are aliases or uuids of volumes and snapshots, names or persistent ids of storage nodes, and
names or ids of hosts. Nodes and hosts choose their names themselves, so an id comes before an equal
name of another node or host. A text that means several objects is refused with exit code 2. Callers
that may not list hosts (role HOST) give ids of hosts.

An empty text is refused, so that an unset variable of a script does not select all objects. Only
`nodes set` accepts it, to clear a place or the host.

## Output

The default is `-o table`; `wide` has more columns. `json` and `yaml` print the answer of the API,
even if it is a refusal. `csv` has all columns, with the numbers of the API. Commands that change
something have no CSV output, and refuse it before the change. `--watch` shows each change until
Ctrl-C: in place on a terminal, otherwise one after the other (with `-o json` in one line each).
Colours and bars appear only on terminals; `NO_COLOR` turns colours off. Messages that are not the
result go to stderr.

## Repeats

A call without an answer is repeated up to three times, if a repeat is safe. Repeats are safe for
reads, deletions, and calls that the API recognizes by their `Idempotency-Key`. The key stays the
same for all repeats of one command, and with `--idempotency-key` for several runs of a command. A
call that was not sent is always repeated. While a command watches or waits, the API may be
unreachable for five minutes.

## Exit codes

| code | meaning | result codes of the API |
| --- | --- | --- |
{codes}

An error is one sentence on stderr, which begins with `Error:`.

## Completion

`provisionerctl completion bash`, `zsh` or `fish` prints a script that completes commands,
options, aliases (of the first 1000 objects) and the names of nodes, hosts, tenants and contexts.
`provisionerctl completion --help` says where to put it.

## Commands
"""


def page() -> str:
    """The whole page."""
    ctx = click.Context(cli, info_name="provisionerctl")
    own = [param for param in cli.params if isinstance(param, click.Option)]
    connection = "\n".join(
        f"| `{param.opts[-1]}` | `PROVISIONERCTL_{(param.name or '').upper()}` |"
        for param in own
        if param.name not in {"output", "context", "version"}
    )
    codes = "\n".join(
        f"| {code.value} | {MEANINGS[code]} | {', '.join(CODES.get(code, '').split())} |"
        for code in Exit
    )
    head = HEAD.format(connection=connection, codes=codes)
    return "\n".join([head.rstrip(), "", *commands(cli, ctx)]).rstrip() + "\n"


def commands(group: click.Group, ctx: click.Context) -> Iterator[str]:
    """The lines of each command, group by group."""
    for name in sorted(group.commands):
        command = group.commands[name]
        if command.name != name:
            continue
        inner = click.Context(command, info_name=name, parent=ctx)
        if isinstance(command, click.Group):
            yield from (f"### {name}", "", command.help or "", "")
            yield from commands(command, inner)
        else:
            yield from described(command, inner)


def described(command: click.Command, ctx: click.Context) -> Iterator[str]:
    """Heading, usage, text and options."""
    level = "####" if ctx.parent and ctx.parent.parent else "###"
    words = ctx.command_path.removeprefix("provisionerctl ")
    yield from (f"{level} {words}", "", f"`{usage(command, ctx)}`", "")
    text, _, list_of_lines = inspect.cleandoc(command.help or "").partition("\b\n")
    yield from (text.strip(), "")
    if list_of_lines:
        yield from ("```", list_of_lines.strip(), "```", "")
    options = [record for param in command.params if (record := shown(param, ctx))]
    if options:
        yield from ("| option | |", "| --- | --- |")
        yield from (
            f"| `{names.replace('|', chr(92) + '|')}` | {text} |" for names, text in options
        )
        yield ""


def usage(command: click.Command, ctx: click.Context) -> str:
    return " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])


def shown(param: click.Parameter, ctx: click.Context) -> tuple[str, str] | None:
    """Return names and texts. None: it belongs to the options that each command has."""
    if not isinstance(param, click.Option) or param.hidden or param.name in {"output", "help"}:
        return None
    return param.get_help_record(ctx)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
