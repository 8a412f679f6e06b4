"""A database as new after each test that commits, in a tenth of the time of Django's ``flush``."""

from functools import cache

from django.db import connection, transaction
from django.test import TransactionTestCase

KEPT = {"django_content_type", "auth_permission"}
"""What ``flush`` takes away and then makes again, the same, from the models."""


@cache
def _statements() -> tuple[str, ...]:
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    quoted = [connection.ops.quote_name(name) for name in names if name not in KEPT]
    return tuple(f"DELETE FROM {name}" for name in quoted)  # noqa: S608 - names of our tables


def delete_rows(_: TransactionTestCase) -> None:
    """A few rows are deleted faster than the files of all tables are made anew, as TRUNCATE does.

    Foreign keys are checked at the commit, so the order of tables does not matter.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(";".join(_statements()))
        else:
            for statement in _statements():
                cursor.execute(statement)
