"""The description of an action of the console."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Model

from provisioner.access.permissions import is_allowed
from provisioner.access.principals import Caller
from provisioner.console.actions.operation import Endpoint, endpoint

Choices = Iterable[tuple[str, str]]
MOST_SUGGESTED = 200
"""The greatest number of values that a field suggests. If there may be more, users can also type a
value.
"""


@dataclass(frozen=True)
class Table:
    """A table on the page of an action."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """Information that the page of an action shows first: sentences and tables."""

    sentences: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


@dataclass(frozen=True)
class Field:
    """A field in the form of an action. Its type, and whether it is required, follow from the input
    of the operation.

    ``name``: the name of the input field; for a field in an object, its path with dots.
    ``choices``: the values to choose from. ``suggests``: there may be more values, so users can
    also type one.
    """

    name: str
    label: str
    help: str = ""
    initial: Callable[[Any], Any] = lambda _: None
    choices: Callable[[Any, Caller], Choices] | None = None
    suggests: bool = False
    secret: bool = False
    long: bool = False


@dataclass(frozen=True)
class Action:
    """An action on an object of ``model``. With ``of_list``, its button is on the list of the
    objects.

    ``name``: unique for the model; it is part of the URL. ``path``: the path of the operation.
    Names in braces are attributes of the object. ``says``: explains the effects and the cost of the
    action. ``facts``: information about this object. ``body``: input of the operation in addition
    to the form. ``done``: the message after success. ``applies_to``: whether the action is possible
    for an object as it is; its button is shown only then. ``opens``: the object that is shown
    afterwards, as its model, a field of the answer, and the field of the model that has the same
    value; by default, the object of the action. ``dry_run``: turns the answer of a dry run into
    facts. ``reveals``: a field of the answer that is shown once only. ``asks_password``: the
    operation requires the password of the user.
    """

    name: str
    model: type[Model]
    title: str
    icon: str
    method: str
    path: str
    says: str
    done: str
    fields: tuple[Field, ...] = ()
    facts: Callable[[Any], Facts] = lambda _: Facts()
    body: Callable[[Any], Mapping[str, Any]] = lambda _: {}
    applies_to: Callable[[Any], bool] = lambda _: True
    of_list: bool = False
    destroys: bool = False
    opens: tuple[type[Model], str, str] | None = None
    dry_run: Callable[[Mapping[str, Any]], Facts] | None = None
    reveals: str = ""
    asks_password: bool = False

    @property
    def endpoint(self) -> Endpoint:
        return endpoint(self.method, self.path)

    def is_allowed(self, caller: Caller) -> bool:
        """Whether the API allows the operation to this caller."""
        return is_allowed(self.endpoint.line, caller)

    def path_of(self, row: Any) -> str:
        """Return the path of the operation for an object."""
        return self.path.format_map(_Attributes(row))


class _Attributes(dict[str, Any]):
    def __init__(self, row: Any) -> None:
        super().__init__()
        self._row = row

    def __missing__(self, name: str) -> Any:
        return getattr(self._row, name)
