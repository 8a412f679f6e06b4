"""How an action of the console is described."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Model

from provisioner.access.permissions import is_allowed
from provisioner.access.principals import Caller
from provisioner.console.actions.operation import Endpoint, endpoint

Choices = Iterable[tuple[str, str]]
MOST_SUGGESTED = 200
"""The most values that a field offers. If there may be more, any value can be typed."""


@dataclass(frozen=True)
class Table:
    """A table on the page of an action."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """What is known before an action: sentences, and tables."""

    sentences: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


@dataclass(frozen=True)
class Field:
    """A field of an action's form. ``name``: the input of the operation, with a path for a field in
    an object. ``choices``: values to choose from; if ``suggests``, there may be more than it
    offers, and then any value can be typed. What else the form needs to know, it learns from the
    operation's input.
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
    """An action on an object of ``model``, or, if ``of_list``, beside the list of its objects.

    ``name``: unique for the model; it is part of the address. ``path``: of the operation; names in
    braces are attributes of the object. ``says``: what it does and what it costs. ``facts``: what
    it means for this object. ``body``: what the operation is sent in addition to the form.
    ``done``: the message afterwards. ``applies``: whether its button is shown. ``opens``: model,
    field of the answer and field of the model of the object that is shown afterwards; by default,
    the object itself. ``dry_run``: shows what a dry run answers. ``reveals``: the field of the
    answer that is shown once. ``asks_password``: the operation wants the user's password.
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
    applies: Callable[[Any], bool] | None = None
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
        """The path of the operation for an object."""
        return self.path.format_map(_Attributes(row))


class _Attributes(dict[str, Any]):
    def __init__(self, row: Any) -> None:
        super().__init__()
        self._row = row

    def __missing__(self, name: str) -> Any:
        return getattr(self._row, name)
