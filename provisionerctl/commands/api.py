"""The command that calls any operation of the API by its path."""

import json
from typing import Any
from urllib.parse import parse_qsl

import click

from provisionerctl import output
from provisionerctl.errors import Exit, Failure
from provisionerctl.options import Command, with_idempotency_key
from provisionerctl.output import Format
from provisionerctl.session import Session, pass_session

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@click.command(cls=Command)
@click.argument("method", type=click.Choice(METHODS, case_sensitive=False))
@click.argument("path")
@click.option("-d", "--data", help="JSON of the body; @FILE reads it from a file, @- from stdin.")
@click.option("-q", "--query", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@with_idempotency_key
@pass_session
def api(session: Session, method: str, path: str, data: str | None, query: tuple[str, ...]) -> None:
    """Call an operation by its path and show the answer: api GET /volumes -q limit=5."""
    if not path.startswith("/"):
        raise Failure(f"The path begins with a slash: /{path}", Exit.USAGE)
    path, _, rest = path.partition("?")
    fields: dict[str, list[str]] = {}
    for name, value in parse_qsl(rest, keep_blank_values=True):
        fields.setdefault(name, []).append(value)
    for name, _, value in (item.partition("=") for item in query):
        fields.setdefault(name, []).append(value)
    answer = session.client.call(method, path, _body(data), fields)
    if isinstance(answer, str):
        click.echo(answer, nl=not answer.endswith("\n"))
        return
    how = session.format if session.is_machine_readable else Format.JSON
    click.echo(output.document(answer, how), nl=False)


def _body(data: str | None) -> Any:
    if data is None:
        return None
    try:
        if data.startswith("@"):
            with click.open_file(data[1:]) as file:
                return json.load(file)
        return json.loads(data)
    except (OSError, ValueError) as error:
        raise Failure(f"{data!r} is not JSON: {error}", Exit.USAGE) from None
