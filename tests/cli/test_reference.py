"""docs/reference/cli.md matches the commands."""

from collections.abc import Iterator

import click
import pytest

from provisionerctl.main import cli
from tests.cli.reference import PAGE, page


def commands(group: click.Group) -> Iterator[click.Command]:
    for command in group.commands.values():
        yield command
        if isinstance(command, click.Group):
            yield from commands(command)


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "make cli-reference"


@pytest.mark.parametrize("command", list(commands(cli)), ids=lambda command: command.name)
def test_each_command_and_option_has_a_help_text(command: click.Command) -> None:
    assert (command.help or "").strip().endswith((".", ":", "5", "fish"))
    options = [p for p in command.params if isinstance(p, click.Option) and p.name != "help"]
    assert [option.name for option in options if not option.help] == []
