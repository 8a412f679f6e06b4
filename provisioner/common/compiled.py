"""Statements that Django compiles once and executes many times. Compiling a short statement takes
longer than sending it.

Build the query with an argument in place of each value that differs between calls::

    FREE = Compiled(lambda: Ssd.objects.filter(pk=whole("ssd")).values_list("capacity_bytes"))
    for (capacity,) in FREE.rows(ssd=7): ...

Django writes the SQL, so a change of a model needs no change here.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from operator import attrgetter, methodcaller
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.models import (
    BigIntegerField,
    CharField,
    Count,
    DateTimeField,
    Expression,
    F,
    Field,
    Func,
    IntegerField,
    Model,
    QuerySet,
)
from django.db.models.functions import Cast
from django.db.models.lookups import Exact
from django.db.models.sql import UpdateQuery
from django.utils.functional import cached_property

ALL, NUMBER = methodcaller("fetchall"), attrgetter("rowcount")


class _Argument(Expression):
    def __init__(self, name: str, output_field: "Field[Any, Any]") -> None:
        super().__init__(output_field=output_field)
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", (self,)

    def bound(self, arguments: dict[str, Any], database: Any) -> Any:
        return self.output_field.get_db_prep_value(arguments[self.name], database)


def text(name: str) -> Expression:
    """A parameter for a text, which calls pass by this name."""
    return _Argument(name, CharField())


def whole(name: str) -> Expression:
    """A parameter for a whole number, which calls pass by this name."""
    return _Argument(name, BigIntegerField())


def moment(name: str) -> Expression:
    """A time that each call gives by this name."""
    return _Argument(name, DateTimeField())


def unindexed(column: str, value: Any) -> "Exact[Any]":
    """A condition for a column of texts that no index serves: it only filters the rows that other
    conditions find.

    The one plan of a statement takes all values of a column for equally frequent. So it would find
    rows by the tenant, although most rows may be of one tenant.
    """
    hidden = Func(F(column), template="(%(expressions)s || '')", output_field=CharField())
    return Exact(hidden, value)


def execute(database: Any, statement: str, parameters: Sequence[Any], read: Any) -> Any:
    """Return what ``read`` takes from the cursor. A connection plans the statement once, if it can.
    SQLite's cursor is closed, because an open one may keep a lock."""
    plans = hasattr(database, "planning_cursor")
    with nullcontext(database.planning_cursor()) if plans else database.cursor() as cursor:
        cursor.execute(statement, parameters)
        return read(cursor)


def database() -> Any:
    """The connection of this thread. For each attribute, ``django.db.connection`` looks it up."""
    return connections[DEFAULT_DB_ALIAS]


class Compiled:
    """A query of ``values_list``, or an update of its rows if columns are passed in ``written``.

    ``build`` returns the queryset. It is called at the first use.
    """

    def __init__(self, build: Callable[[], QuerySet[Any, Any]], **written: Any) -> None:
        self._build, self._written = build, written

    def rows(self, **arguments: Any) -> Iterable[Any]:
        """The rows, as tuples."""
        found: Iterable[Any] = self._executed(arguments, ALL)
        if self._converters:
            compiler = self._compiled[0]
            found = map(tuple, compiler.apply_converters(found, self._converters))
        return found

    def update(self, **arguments: Any) -> int:
        """Update the rows, and return their number."""
        return self._executed(arguments, NUMBER)  # type: ignore[no-any-return]

    @cached_property
    def _compiled(self) -> tuple[Any, str, tuple[Any, ...]]:
        query: Any = self._build().query
        if self._written:
            query = query.chain(UpdateQuery)
            query.add_update_values(self._written)
            query.clear_ordering(force=True)
        compiler = query.get_compiler(connection=connection)
        return compiler, *_constants_written(*compiler.as_sql())

    @cached_property
    def _converters(self) -> Any:
        """What changes values of the database into values of Python, by column."""
        compiler, _, _ = self._compiled
        columns = [column[0] for column in compiler.select]
        return compiler.get_converters([None if _is_whole(one) else one for one in columns])

    def _executed(self, arguments: dict[str, Any], read: Any) -> Any:
        _, statement, parameters = self._compiled
        used = database()
        bound = [p.bound(arguments, used) if isinstance(p, _Argument) else p for p in parameters]
        return execute(used, statement, bound, read)


def _is_whole(column: Any) -> bool:
    """Whether all databases return whole numbers in this column. Django converts these, too. (The
    sum of whole numbers is a decimal number in PostgreSQL: cast it.)
    """
    return isinstance(column, Cast | Count) and isinstance(column.output_field, IntegerField)


def _constants_written(statement: str, parameters: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """The statement with its constants in the text, for PostgreSQL: its one plan for all calls must
    see them, to use an index over a part of the rows. Only arguments stay parameters.
    """
    if connection.vendor != "postgresql":
        return statement, parameters
    written: list[str] = []
    with connection.cursor() as cursor:
        for parameter in parameters:
            is_argument = isinstance(parameter, _Argument)
            text = "%s" if is_argument else cursor.mogrify("%s", [parameter])
            written.append(text if is_argument else text.replace("%", "%%"))
    fixed = statement.replace("%%", "%%%%") % tuple(written)
    return fixed, tuple(p for p in parameters if isinstance(p, _Argument))


def prefetched(row: Model, name: str, related: list[Any]) -> None:
    """Set the result of ``row.<name>.all()``, as ``prefetch_related`` does."""
    vars(row).setdefault("_prefetched_objects_cache", {})[name] = related
