"""Statements that Django compiles once and executes many times. Compiling a short statement takes
longer than sending it.

Build the query with an argument in place of each value that differs between calls::

    FREE = Compiled(lambda: Ssd.objects.filter(pk=whole("ssd")).values_list("capacity_bytes"))
    for (capacity,) in FREE.rows(ssd=7): ...

Django writes the SQL, so a change of a model needs no change here.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import cache, cached_property
from operator import attrgetter, methodcaller
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.models import (
    BigIntegerField,
    CharField,
    Count,
    DateTimeField,
    Expression,
    Field,
    IntegerField,
    Model,
    QuerySet,
)
from django.db.models.constants import OnConflict
from django.db.models.expressions import DatabaseDefault
from django.db.models.functions import Cast
from django.db.models.sql import InsertQuery, UpdateQuery

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


def _execute(database: Any, statement: str, parameters: Sequence[Any], read: Any) -> Any:
    """Return what ``read`` takes from the cursor. A connection plans the statement once, if it can.
    SQLite's cursor is closed, because an open one may keep a lock."""
    plans = hasattr(database, "planning_cursor")
    with nullcontext(database.planning_cursor()) if plans else database.cursor() as cursor:
        cursor.execute(statement, parameters)
        return read(cursor)


def _database() -> Any:
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
        database = _database()
        bound = [
            p.bound(arguments, database) if isinstance(p, _Argument) else p for p in parameters
        ]
        return _execute(database, statement, bound, read)


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


def insert(*rows: Model) -> None:
    """Insert new rows of one model, and set their keys. This is one statement if a transaction is
    open.
    """
    if len(rows) == 1:
        rows[0].pk = _execute_insert(type(rows[0]), _values(rows[0])) or rows[0].pk
    elif rows:
        type(rows[0])._base_manager.bulk_create(rows)


def insert_values(model: type[Model], **values: Any) -> None:
    """Insert a row without an object of its model. The database chooses all other values."""
    _execute_insert(model, values)


def upsert(row: Model, columns: Sequence[str]) -> None:
    """Insert a row whose key is set. If the key exists already, update these columns of the row."""
    _execute_insert(type(row), _values(row), *columns)


def _values(row: Model) -> dict[str, Any]:
    """The values of the row that the database does not choose, by attribute."""
    return {
        field.attname: value
        for field in row._meta.concrete_fields
        if not isinstance(value := getattr(row, field.attname), DatabaseDefault)
        and not (field.primary_key and value is None)
    }


def _execute_insert(model: type[Model], values: dict[str, Any], *columns: str) -> Any:
    """Execute the statement. Returns the key of the row if the database chose it."""
    statement, prepare, has_key = _insert_statement(model, tuple(values), columns)
    database = _database()
    prepared = [prepare[name](value, database) for name, value in values.items()]
    found = _execute(database, statement, prepared, NUMBER if has_key else ALL)
    return None if has_key else found[0][0]


def prefetched(row: Model, name: str, related: list[Any]) -> None:
    """Set the result of ``row.<name>.all()``, as ``prefetch_related`` does."""
    vars(row).setdefault("_prefetched_objects_cache", {})[name] = related


@cache
def _insert_statement(model: type[Model], names: Sequence[str], columns: Sequence[str]) -> Any:
    """The statement with one parameter for each of the attributes, the functions that make
    parameters of their values, and whether the key is among them.
    """
    meta = model._meta
    fields = {field.attname: field for field in meta.concrete_fields if field.attname in names}
    has_key = meta.pk in fields.values()
    query = InsertQuery(
        model,
        on_conflict=OnConflict.UPDATE if columns else None,
        update_fields=[meta.get_field(name) for name in columns],
        unique_fields=[meta.pk] if columns else [],
    )
    query.insert_values([fields[name] for name in names], [model(**dict.fromkeys(names))])
    compiler: Any = query.get_compiler(connection=connection)
    compiler.returning_fields = None if has_key else [meta.pk]
    [(statement, _)] = compiler.as_sql()
    return statement, {name: fields[name].get_db_prep_save for name in names}, has_key
