"""The state of one run of the program: its options, its client of the API, and its output."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.live import Live

from provisionerctl import output
from provisionerctl.client import Body, Client
from provisionerctl.config import Context, resolve
from provisionerctl.errors import Exit, Failure, Refused
from provisionerctl.output import Column, Format

OUTAGE_SECONDS = 300.0
"""The longest time for which the API may be unreachable while something is watched."""


@dataclass
class Session:
    """Set by callbacks in :mod:`provisionerctl.options` while the command line is parsed."""

    given: Context = field(default_factory=Context)
    context_name: str = ""
    format: Format = Format.TABLE
    yes: bool = False
    watch: bool = False
    interval: float = 2.0
    idempotency_key: str = ""

    def set_connection(self, **values: Any) -> None:
        """Set options of the connection."""
        self.given = replace(self.given, **values)

    @cached_property
    def client(self) -> Client:
        """The client of the API.

        :raises Failure: the configuration is wrong.
        """
        made = Client(resolve(self.given, self.context_name))
        made.idempotency_key = self.idempotency_key
        return made

    @cached_property
    def completion_client(self) -> Client:
        """The client for shell completion. Each call is one short attempt.

        :raises Failure: the configuration is wrong.
        """
        return Client(resolve(self.given, self.context_name), quick=True)

    @cached_property
    def console(self) -> Console:
        return output.console()

    @cached_property
    def errors(self) -> Console:
        return output.console(error=True)

    @property
    def wide(self) -> bool:
        return self.format == Format.WIDE

    @property
    def is_machine_readable(self) -> bool:
        return self.format in {Format.JSON, Format.YAML}

    def list(self, fetch: Callable[[], list[Body]], columns: Sequence[Column]) -> None:
        """Show rows: once or, with ``--watch``, each change."""
        self.show(fetch, lambda rows: output.table(rows, columns, wide=self.wide), columns)

    def show(
        self,
        fetch: Callable[[], Any],
        draw: Callable[[Any], RenderableType],
        columns: Sequence[Column] = (),
        until: Callable[[Any], bool] | None = None,
    ) -> Any:
        """Show the result of ``fetch``: once, or with ``--watch`` each change until Ctrl-C, or with
        ``until`` each change until it returns True. ``columns``: the columns of CSV. Returns the
        last result.
        """
        if not self.watch and until is None:
            data = fetch()
            self._write(data, draw, columns)
            return data
        try:
            return self._follow(fetch, draw, columns, until or (lambda _: False))
        except KeyboardInterrupt:
            if until is not None:
                raise
            return None

    def done(self, answer: Body, sentence: str) -> None:
        """Report a change to programs by the answer of the API, and to people by a sentence."""
        if self.is_machine_readable:
            click.echo(output.document(answer, self.format), nl=False)
        else:
            self.console.print(sentence, soft_wrap=True)

    def confirm(self, question: str) -> None:
        """Ask the user before something is destroyed.

        :raises Failure: the answer was not yes.
        """
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise Failure(
                f"{question} There is no terminal to ask for confirmation: add --yes.",
                Exit.NOT_CONFIRMED,
            )
        if not click.confirm(question, err=True):
            raise Failure("Nothing was changed.", Exit.NOT_CONFIRMED)

    @contextmanager
    def command(self) -> Iterator[None]:
        """The context of each command. With ``-o json`` or ``yaml``, the answer to a refused call
        is printed, too. Names that the API ignored are reported on stderr.

        :raises Failure: the command failed, or a file or stdin is not text.
        """
        try:
            yield
        except Refused as error:
            if self.is_machine_readable:
                click.echo(output.document(error.body, self.format), nl=False)
            raise
        except UnicodeDecodeError as error:
            raise Failure(f"The input is not text in UTF-8: {error}.", Exit.USAGE) from None
        finally:
            self._ignored()

    def _write(
        self, data: Any, draw: Callable[[Any], RenderableType], columns: Sequence[Column]
    ) -> None:
        if self.is_machine_readable:
            click.echo(output.document(data, self.format, line=self.watch), nl=False)
        elif self.format == Format.CSV:
            rows = data if isinstance(data, list) else [data]
            click.echo(output.csv_text(rows, columns), nl=False)
        else:
            output.print_trimmed(self.console, draw(data))

    def _follow(
        self,
        fetch: Callable[[], Any],
        draw: Callable[[Any], RenderableType],
        columns: Sequence[Column],
        until: Callable[[Any], bool],
    ) -> Any:
        self.watch = True
        screen = self.console.is_terminal and self.format in {Format.TABLE, Format.WIDE}
        before: Any = None
        with self._screen() if screen else nullcontext() as live:
            for data in self._poll(fetch):
                if isinstance(live, Live):
                    live.update(draw(data), refresh=True)
                elif data != before:
                    self._write(data, draw, columns)
                if until(data):
                    return data
                before = data
        raise AssertionError("the refresh loop never ends")

    def _poll(self, fetch: Callable[[], Any]) -> Iterator[Any]:
        """Yield the result of ``fetch`` again and again, and wait during an outage after the first
        one.

        :raises Failure: the call was refused, or the API was unreachable for OUTAGE_SECONDS.
        """
        give_up = 0.0
        while True:
            try:
                yield fetch()
            except Failure as error:
                if error.exit_code != Exit.UNAVAILABLE or time.monotonic() > give_up:
                    raise
            else:
                give_up = time.monotonic() + OUTAGE_SECONDS
            time.sleep(self.interval)

    def _screen(self) -> Live:
        return Live(console=output.console(fit=True), auto_refresh=False)

    def _ignored(self) -> None:
        if "client" in self.__dict__ and self.client.ignored:
            names = ", ".join(sorted(self.client.ignored))
            text = f"The API ignored unknown fields: {names}"
            self.errors.print(text, style="yellow", soft_wrap=True)


pass_session = click.make_pass_decorator(Session, ensure=True)
