"""``manage.py data_model``: write docs/reference/data-model.md from the models."""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db.models import Field, ForeignKey, Model

from provisioner.common.pages import PageCommand

APPS = ("volumes", "inventory", "tasks", "events", "provisioner")
HEAD = """# Data model

This page shows the tables of the database. `manage.py data_model` writes it from the Django models,
and `make check` fails when it is outdated. After a change of the models, run `make pages`.
[State diagrams](../explanation/states.md) explain how rows change over time.

## Relations

Each line leads from a table to a table that refers to it. The label names the referring column, and
the effect when the row that it refers to is deleted: `PROTECT` refuses the deletion, `CASCADE` also
deletes the referring rows, `SET_NULL` empties the column.

Some columns contain the key of another row without a foreign key, because the other row may already
be deleted: the volume of a task, the task that added a replica, the replica of a namespace id.
"""


class Command(PageCommand):
    page = "docs/reference/data-model.md"

    def text(self) -> str:
        """The diagrams of all tables."""
        models = [model for app in APPS for model in apps.get_app_config(app).get_models()]
        parts = [HEAD, _diagram(_relations(models))]
        for app in APPS:
            own = [model for model in models if model._meta.app_label == app]
            parts += [f"## Columns of {app}\n", _diagram(_columns(own))]
        return "\n".join(parts)


def _diagram(lines: Iterator[str]) -> str:
    return "\n".join(["```mermaid", "erDiagram", *(f"    {line}" for line in lines), "```", ""])


def _relations(models: list[type[Model]]) -> Iterator[str]:
    for model in models:
        for field in _references(model):
            other = "|o" if field.null else "||"
            own = "o|" if field.unique else "o{"
            on_delete = getattr(field.remote_field.on_delete, "__name__", "")
            label = f"{field.name}, {on_delete}"
            target: Any = field.related_model
            yield f'{target.__name__} {other}--{own} {model.__name__} : "{label}"'


def _references(model: type[Model]) -> list["ForeignKey[Any, Any]"]:
    return [field for field in model._meta.concrete_fields if isinstance(field, ForeignKey)]


def _columns(models: list[type[Model]]) -> Iterator[str]:
    for model in models:
        yield f"{model.__name__} {{"
        for field in model._meta.concrete_fields:
            yield f"    {field.get_internal_type()} {field.column}{_keys(field)}{_null(field)}"
        yield "}"


def _keys(field: "Field[Any, Any]") -> str:
    keys = [
        key
        for key, holds in (
            ("PK", field.primary_key),
            ("FK", isinstance(field, ForeignKey)),
            ("UK", field.unique and not field.primary_key),
        )
        if holds
    ]
    return f" {', '.join(keys)}" if keys else ""


def _null(field: "Field[Any, Any]") -> str:
    return ' "may be null"' if field.null else ""
