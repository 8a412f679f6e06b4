"""Lookups that Django has not."""

import json
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import ForeignKey, Lookup
from django.db.models.sql.compiler import SQLCompiler


@ForeignKey.register_lookup
class Among(Lookup):
    """``volume_id__among=keys``, a set: as ``__in``, with one parameter however many keys there
    are.

    Django, psycopg and PostgreSQL each go through the parameters of a statement one by one; for a
    page of 100 rows that is a fifth of the work.
    """

    lookup_name = "among"
    prepare_rhs = False

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        return f"{column} = ANY(%s)", (*parameters, list(self.rhs))

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        keys = f"{column} IN (SELECT value FROM json_each(%s))"  # noqa: S608 - a column of ours
        return keys, (*parameters, json.dumps(list(self.rhs)))
