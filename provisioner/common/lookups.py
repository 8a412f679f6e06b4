"""Database lookups that Django does not have."""

import json
from collections.abc import Iterable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression, ForeignKey, IntegerField, JSONField, Lookup
from django.db.models.sql.compiler import SQLCompiler


@ForeignKey.register_lookup
@IntegerField.register_lookup
class Among(Lookup):
    """``volume_id__among=keys`` is like ``__in``, but needs one parameter for any number of keys.

    Django, psycopg and PostgreSQL process the parameters of a statement one by one. For a page of
    100 rows, that is a fifth of the work.
    """

    lookup_name = "among"
    prepare_rhs = False

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        return f"{column} = ANY(%s)", (*parameters, self._keys(connection))

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        keys = f"{column} IN (SELECT value FROM json_each(%s))"  # noqa: S608 - a column of ours
        return keys, (*parameters, self._keys(connection))

    def _keys(self, connection: BaseDatabaseWrapper) -> Any:
        """An argument of a compiled statement is replaced at each call."""
        is_argument = isinstance(self.rhs, Expression)
        return self.rhs if is_argument else one_parameter(self.rhs, connection)


def one_parameter(keys: Iterable[int], connection: BaseDatabaseWrapper) -> list[int] | str:
    """Any number of keys as the parameter of :class:`Among`."""
    return list(keys) if connection.vendor == "postgresql" else json.dumps(list(keys))


@JSONField.register_lookup
class Holds(Lookup):
    """``subjects__holds="volume:1"``: the list in the column has this text as an item.

    PostgreSQL uses a GIN index with ``jsonb_path_ops`` for it.
    """

    lookup_name = "holds"
    prepare_rhs = False

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        return f"{column} @> %s::jsonb", (*parameters, json.dumps([self.rhs]))

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        found = f"EXISTS (SELECT 1 FROM json_each({column}) WHERE value = %s)"  # noqa: S608 - ours
        return found, (*parameters, self.rhs)
