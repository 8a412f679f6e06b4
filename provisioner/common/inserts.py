"""Inserts whose statement Django compiles once (see compiled.py)."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.db import connection
from django.db.models import Model
from django.db.models.constants import OnConflict
from django.db.models.expressions import DatabaseDefault
from django.db.models.sql import InsertQuery

from provisioner.common.compiled import ALL, NUMBER, database, execute


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
    used = database()
    prepared = [prepare[name](value, used) for name, value in values.items()]
    found = execute(used, statement, prepared, NUMBER if has_key else ALL)
    return None if has_key else found[0][0]


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
