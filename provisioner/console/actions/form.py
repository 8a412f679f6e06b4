"""The form of an action, made from the input of its operation."""

import re
import uuid
from typing import Any

from django import forms
from rest_framework import serializers
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from provisioner.access.principals import Caller
from provisioner.common.parsing import Input
from provisioner.console.actions.action import MOST_SUGGESTED, Action, Field
from provisioner.console.actions.operation import Answer

FIELD_ERROR = re.compile(r"([A-Za-z.]+?)(?:\.\d+)? = ")
"""The start of an error description that concerns one field, or one value of a list."""
KEY, PASSWORD = "idempotency_key", "password"
EMPTY_CHOICE = ("", "-")


class ActionForm(forms.Form):
    """The form of an action. It only checks that required values are present; the operation checks
    the values.
    """

    idempotency_key = forms.CharField(max_length=64, widget=forms.HiddenInput, required=False)

    def __init__(self, action: Action, row: Any, caller: Caller, data: Any = None) -> None:
        super().__init__(data, initial={KEY: uuid.uuid4().hex})
        self._action, self._row, self._caller = action, row, caller
        self.suggestions: dict[str, list[tuple[str, str]]] = {}
        source = action.endpoint.body or action.endpoint.query
        for field in action.fields:
            assert source is not None, f"{action.name}: its operation takes no input"
            self.fields[field.name] = self._field(field, _input_field(source, field.name))
        if action.asks_password:
            self.fields[PASSWORD] = forms.CharField(
                label="Your password", strip=False, widget=UnfoldAdminPasswordWidget()
            )

    def _field(self, field: Field, source: serializers.Field[Any, Any, Any, Any]) -> forms.Field:
        given: dict[str, Any] = {
            "label": field.label,
            "help_text": field.help,
            "initial": field.initial(self._row),
            "required": source.required,
        }
        if isinstance(source, serializers.BooleanField):
            return forms.BooleanField(widget=UnfoldBooleanWidget(), **given | {"required": False})
        choices = self._choices(field) or _fixed_choices(source)
        if isinstance(source, serializers.ListField) and choices:
            several = UnfoldAdminCheckboxSelectMultipleWidget(choices=choices)
            return _MultipleField(widget=several, **given)
        if choices and (not field.suggests or len(choices) < MOST_SUGGESTED):
            is_given = given["initial"] or (source.required and not field.suggests)
            empty = [] if is_given else [EMPTY_CHOICE]
            return forms.CharField(widget=UnfoldAdminSelectWidget(choices=empty + choices), **given)
        attributes = {}
        if choices:
            self.suggestions[f"{field.name}-values"] = choices
            attributes["list"] = f"{field.name}-values"
        return forms.CharField(
            strip=not field.secret, widget=_text(field, source, attributes), **given
        )

    def _choices(self, field: Field) -> list[tuple[str, str]]:
        return list(field.choices(self._row, self._caller)) if field.choices else []

    @property
    def content(self) -> dict[str, Any]:
        """The values in the form that the operation expects. Empty values are omitted."""
        content: dict[str, Any] = {}
        source = self._action.endpoint.body or self._action.endpoint.query
        for field in self._action.fields:
            assert source is not None
            value = self.cleaned_data[field.name]
            if isinstance(_input_field(source, field.name), serializers.ListField):
                value = value if isinstance(value, list) else re.split(r"[\s,]+", value.strip(", "))
                value = [item for item in value if item]
            if value not in ("", None, []):
                _set_nested(content, field.name.split("."), value)
        return content

    def refuse(self, answer: Answer) -> None:
        """Show the error of the operation beside the field that it names."""
        match = FIELD_ERROR.match(answer.description)
        named = match[1] if match and match[1] in self.fields else None
        if answer.http == 401 and PASSWORD in self.fields:
            named = PASSWORD
        self.add_error(named, answer.description)


class _MultipleField(forms.Field):
    """A field with several values."""

    def clean(self, value: Any) -> list[str]:
        super().clean(value)
        return list(value or [])


def _input_field(source: type[Input], path: str) -> serializers.Field[Any, Any, Any, Any]:
    """Return the field of an input by its name or path."""
    found: Any = source()
    for name in path.split("."):
        found = found.fields[name]
    assert isinstance(found, serializers.Field)
    return found


def _fixed_choices(source: Any) -> list[tuple[str, str]]:
    """Return the choices of a field with a fixed set of values; empty for other fields."""
    closed = getattr(source, "child", source)
    return [(str(word), str(word)) for word in getattr(closed, "choices", {})]


def _text(field: Field, source: object, attributes: dict[str, str]) -> forms.Widget:
    widget: type[forms.Widget] = UnfoldAdminTextInputWidget
    if field.secret:
        widget = UnfoldAdminPasswordWidget
    elif field.long:
        widget = UnfoldAdminTextareaWidget
    elif isinstance(source, serializers.IntegerField):
        widget = UnfoldAdminIntegerFieldWidget
    return widget(attributes | {"autocomplete": "off"})


def _set_nested(content: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        content = content.setdefault(name, {})
    content[path[-1]] = value
