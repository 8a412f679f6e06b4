"""Facts and tables that the page of one object shows above its fields."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

SHOWN = 50
"""The number of rows of a table. The list behind its title has all rows."""

Fact = tuple[str, str]
"""A name and a value, as text or as safe HTML."""


@dataclass(frozen=True)
class Table:
    """A table of related objects. Cells are text or safe HTML. ``link``: the list of all; "" if the
    table has all.
    """

    title: str
    head: Sequence[str]
    rows: list[Sequence[Any]] = field(default_factory=list)
    link: str = ""

    @property
    def is_cut(self) -> bool:
        """Whether there are rows that it does not show."""
        return len(self.rows) > SHOWN

    @property
    def shown(self) -> list[Sequence[Any]]:
        return self.rows[:SHOWN]


def table(title: str, head: str, rows: Iterable[Sequence[Any]], link: str = "") -> Table:
    """A table. ``heads`` are separated by commas. Pass one row more than SHOWN if there are more
    rows.
    """
    return Table(title, head.split(", "), list(rows), link)
