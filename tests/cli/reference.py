"""docs/reference/cli.md, made from the commands; ``python -m tests.cli.reference`` writes it."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from provisionerctl.errors import CODES, MEANINGS, Exit
from provisionerctl.main import cli

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"
HEAD = """# provisionerctl

The command line of the provisioner. It speaks to the API alone, and needs neither Django nor the
server's packages: `pipx install ./provisionerctl` in a checkout installs it.

This page is made from the commands by `make cli-reference`.

## Connection

Each option of the connection comes from the command line, else from the environment, else from a
context of the configuration file. The file is `$XDG_CONFIG_HOME/provisionerctl/config.yaml`
(`~/.config/...`), or what `PROVISIONERCTL_CONFIG` names. `provisionerctl context set` writes it
with the mode 0600; one with secrets that others may read is refused. A password or token is read
from stdin, asked for, or given in the environment. A password is no option, because other users
would see it in the list of processes.

| option | environment |
| --- | --- |
{connection}
| | `PROVISIONERCTL_PASSWORD` |
| `--context` | `PROVISIONERCTL_CONTEXT` |

Names are aliases or uuids of volumes and snapshots, names or persistent ids of storage nodes, and
names or ids of hosts.

## Output

`-o table` is the default, `wide` has more columns. `json` and `yaml` have what the API answered,
and also the answer of a refusal. `csv` has all columns, with numbers as the API has them. With
`--watch`, each change is shown until Ctrl-C: on a terminal in place, elsewhere one after the
other (`-o json`: one line each). Colours and bars are for terminals; `NO_COLOR` turns colours
off. What is no result goes to stderr.

## Repeats

A call that got no answer is repeated up to three times, if that is safe: reads, deletions, and
what the API recognizes by its `Idempotency-Key`, which stays the same over the repeats of one
command. With `--idempotency-key` it also stays the same over several runs of a command. What was
not sent is always repeated. What is watched or
waited for may be away for five minutes.

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
    """Names and text; None for what each command has."""
    if not isinstance(param, click.Option) or param.hidden or param.name in {"output", "help"}:
        return None
    return param.get_help_record(ctx)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
