"""Options that many commands share, and the classes of commands that have them."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from provisionerctl.complete import contexts
from provisionerctl.config import Context
from provisionerctl.errors import Exit, Failure
from provisionerctl.output import Format
from provisionerctl.session import Session
from provisionerctl.units import Number

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
CONNECTION = {
    "url": "Address of the API.",
    "user": "Name of the user.",
    "token": "Token, instead of user and password. Others see it in the list of processes.",
    "ca": "File of the CA that signed the API's certificate.",
    "certificate": "File of the client certificate, with its key if --key is not given.",
    "key": "File of the client certificate's key.",
    "tenant": "Id of the tenant of the objects.",
}
"""Options of a context. There is no option for the password, because other users could see it in
the list of processes.
"""


class Clearable(click.Option):
    """An option whose empty text clears a property."""


def not_empty(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Return the value. A script with an unset variable gives an empty text, which would otherwise
    mean "all objects".

    :raises click.BadParameter: a text is empty.
    """
    if "" in (value if isinstance(value, tuple) else (value,)):
        raise click.BadParameter("must not be empty", ctx, param)
    return value


def store_option(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """Return a callback that stores the value of an option in the session, if it was given."""

    def keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if not_empty(ctx, param, value) in (None, False):
            return
        session = ctx.ensure_object(Session)
        if name in Context.__dataclass_fields__:
            session.set_connection(**{name: value})
        else:
            setattr(session, name, value)

    return keep


def option(*names: str, into: str, **settings: Any) -> click.Option:
    return click.Option(names, expose_value=False, callback=store_option(into), **settings)


def common(*, hidden: bool) -> list[click.Parameter]:
    """Return the options of every command. The connection options are shown only in the help of the
    program.
    """
    made: list[click.Parameter] = [
        option(
            "-o",
            "--output",
            into="format",
            type=click.Choice(Format, case_sensitive=False),
            help="Format of the result; default: table.",
        ),
        option("-c", "--context", into="context_name", metavar="NAME", hidden=hidden,
               help="Context of the configuration file.", shell_complete=_contexts),
    ]  # fmt: skip
    made += [
        option(f"--{name}", into=name, metavar=name.upper(), hidden=hidden, help=text)
        for name, text in CONNECTION.items()
    ]
    made.append(
        option("--insecure", into="insecure", is_flag=True, hidden=hidden,
               help="Do not verify the API's certificate.")
    )  # fmt: skip
    return made


def _contexts(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    return contexts(incomplete)


class Command(click.Command):
    """A command with the common options. Its arguments and options must not be empty, except
    Clearable ones. ``csv``: it has CSV output.
    """

    def __init__(self, *args: Any, csv: bool = False, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.csv = csv
        for param in self.params:
            if param.callback is None and not isinstance(param, Clearable):
                param.callback = not_empty
        self.params += common(hidden=True)

    def invoke(self, ctx: click.Context) -> Any:
        """:raises Failure: the output cannot have the requested format. Nothing was changed."""
        session = ctx.ensure_object(Session)
        with session.command():
            if session.format == Format.CSV and not self.csv:
                raise Failure("This command has no CSV output: use -o json.", Exit.USAGE)
            return super().invoke(ctx)


class Group(click.Group):
    """A noun with its verbs. Without a verb, it runs its verb ``default``."""

    command_class = Command
    default: str = ""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        bare = not args and not ctx.resilient_parsing
        if self.default and (bare or (args and args[0].startswith("-") and args[0] != "--help")):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


class Root(Group):
    """The program itself."""

    group_class = Group

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params += common(hidden=False)


def noun(name: str, default: str, text: str) -> Group:
    """Create a group of commands. ``default`` is the verb that runs if none is given."""
    made = Group(name, help=f"{text} Without a command: {default}.")
    made.default = default
    return made


def with_watch(command: Decorated) -> Decorated:
    """Add ``--watch`` and ``--interval`` to a command."""
    made = option("-w", "--watch", into="watch", is_flag=True, help="Show changes until Ctrl-C.")
    return _with(with_interval(command), [made])


def with_interval(command: Decorated) -> Decorated:
    """Add ``--interval`` to a command."""
    made = option(
        "--interval",
        into="interval",
        type=Number(0.1, 3600),
        metavar="SECONDS",
        help="Seconds between two refreshes; default: 2.",
    )
    return _with(command, [made])


def with_wait(command: Decorated) -> Decorated:
    """Add ``--wait``, which is passed to the command, and ``--interval``."""
    text = "Show the progress, and return at the end."
    return click.option("--wait", is_flag=True, help=text)(with_interval(command))


def with_idempotency_key(command: Decorated) -> Decorated:
    """Add ``--idempotency-key`` to a command."""
    text = "Any text. A repeat of the command with the same key changes nothing more."
    made = option("--idempotency-key", into="idempotency_key", metavar="TEXT", help=text)
    return _with(command, [made])


def with_confirmation(command: Decorated) -> Decorated:
    """Add ``--yes`` to a command that asks for confirmation."""
    made = option("-y", "--yes", into="yes", is_flag=True, help="Do not ask for confirmation.")
    return _with(command, [made])


def _with(command: Decorated, params: list[click.Option]) -> Decorated:
    known: list[click.Parameter] = command.__dict__.setdefault("__click_params__", [])
    known.extend(reversed(params))
    return command
