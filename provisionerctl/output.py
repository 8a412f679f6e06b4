"""Shows rows of the API as a table, JSON, YAML or CSV."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import yaml
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from provisionerctl.units import printable

Row = dict[str, Any]
GOOD = ["Available", "FINISHED", "Success", "yes", "NEW", "Healthy"]
BUSY = [
    *("RUNNING", "IDLE", "Synchronizing", "Terminating", "cordoned", "draining", "MODIFIED"),
    *("Rebuilding", "Cordoned", "Draining", "Unknown"),
]
BAD = [
    *("Unavailable", "Missing", "FAILED", "ABORTED", "no", "REMOVED", "access"),
    *("Degraded", "Faulted"),
]
STYLES = (
    dict.fromkeys(GOOD, "green") | dict.fromkeys(BUSY, "yellow") | dict.fromkeys(BAD, "bold red")
)
UNKNOWN: tuple[Any, ...] = (None, "", [])
UNLIMITED = 10_000
"""The width of lines that are not limited."""

LONGEST_WHOLE = 40
"""The longest name that a narrow terminal shows in one line. Longer ones would hide the other
columns.
"""


class Format(StrEnum):
    """The values of ``--output``."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    CSV = "csv"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    ``value``: the path of a field, as ``outer.inner``, or a function that computes the value from
    the row. ``show``: formats the value for people. ``wide``: the column is shown only with ``-o
    wide`` and in CSV.
    """

    title: str
    value: str | Callable[[Row], Any]
    show: Callable[[Any], RenderableType] | None = None
    wide: bool = False

    def raw(self, row: Row) -> Any:
        """Return the value for CSV. None: the row has no such value."""
        if callable(self.value):
            return self.value(row)
        found: Any = row
        for name in self.value.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        return found

    def cell(self, row: Row) -> RenderableType:
        """Return the cell of a table."""
        raw = self.raw(row)
        if raw in UNKNOWN:
            return Text("-", style="dim")
        return state(plain(raw)) if self.show is None else self.show(raw)


def plain(value: Any) -> str:
    """Return a value as one line of text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(map(plain, value))
    if isinstance(value, dict):
        return json.dumps(value)
    return printable(str(value))


def state(text: str) -> Text:
    """Return the text, coloured if its first word is a state."""
    return Text(text, style=STYLES.get(text.partition(" ")[0], ""))


def console(*, error: bool = False, fit: bool = False) -> Console:
    """Return a console for stdout or stderr. It uses colours on a terminal.

    ``fit``: lines are no longer than those of the terminal. Otherwise the terminal wraps long
    lines, so that nothing is cut off and whole lines can be copied.
    """
    made = Console(stderr=error, highlight=False, markup=False, emoji=False)
    if not fit:
        made.width = UNLIMITED
    return made


def table(rows: Iterable[Row], columns: Sequence[Column], *, wide: bool = False) -> RenderableType:
    """Return a table with a line for each row. ``-`` means that a value is unknown."""
    shown = [column for column in columns if wide or not column.wide]
    lines = [[column.cell(row) for column in shown] for row in rows]
    whole = all(len(str(line[0])) <= LONGEST_WHOLE for line in lines)
    made = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(shown):
        made.add_column(column.title, no_wrap=number == 0 and whole, overflow="fold")
    for line in lines:
        made.add_row(*line)
    return made if made.row_count else Text("None found.", style="dim")


def details(row: Row, columns: Sequence[Column]) -> RenderableType:
    """Return the view of one object, with a line for each column whose value is known."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for column in columns:
        if column.raw(row) not in UNKNOWN:
            made.add_row(column.title, column.cell(row))
    return made


def sections(*parts: RenderableType) -> RenderableType:
    """Join the parts, with an empty line between them."""
    spaced = [item for part in parts for item in ("", part)]
    return Group(*spaced[1:])


def csv_text(rows: Iterable[Row], columns: Sequence[Column]) -> str:
    """Return CSV with all columns. The values are those of the API: bytes, milliseconds."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(column.title.lower().replace(" ", "_") for column in columns)
    for row in rows:
        raws = (column.raw(row) for column in columns)
        writer.writerow("" if raw is None else plain(raw) for raw in raws)
    return file.getvalue()


def document(data: Any, how: Format, *, line: bool = False) -> str:
    """Return the answer of the API as JSON or YAML. ``line``: JSON in one line."""
    if how == Format.YAML:
        return yaml.safe_dump(data, sort_keys=False, explicit_start=line)
    return json.dumps(data, indent=None if line else 2) + "\n"


def print_trimmed(out: Console, shown: RenderableType) -> None:
    """Print without the spaces at the ends of lines, which fill the last column of a table."""
    with out.capture() as captured:
        out.print(shown, soft_wrap=True)
    lines = (line.rstrip() for line in captured.get().splitlines())
    out.file.write("".join(f"{line}\n" for line in lines))
    out.file.flush()
