"""Facts and tables on the console's page of one object. They are shown above the fields of the
object.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

SHOWN = 50
"""The number of rows of a table. The list behind its title has all rows."""

Fact = tuple[str, str]
"""A name and a value, as text or as safe HTML."""


@dataclass(frozen=True)
class Table:
    """A table of related objects. Cells are text or safe HTML. ``link``: the list of all objects;
    "" if the table shows all of them.
    """

    title: str
    head: Sequence[str]
    rows: list[Sequence[Any]] = field(default_factory=list)
    link: str = ""

    @property
    def is_cut(self) -> bool:
        """Whether there are more rows than the table shows."""
        return len(self.rows) > SHOWN

    @property
    def shown(self) -> list[Sequence[Any]]:
        return self.rows[:SHOWN]


def table(title: str, head: str, rows: Iterable[Sequence[Any]], link: str = "") -> Table:
    """Return a table. ``head``: the titles of the columns, separated by commas. If there are more
    than SHOWN rows, pass one row more than SHOWN.
    """
    return Table(title, head.split(", "), list(rows), link)
