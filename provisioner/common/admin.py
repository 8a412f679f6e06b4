"""Shared parts of all administration pages. The pages show rows; only services change them."""

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Model, QuerySet, TextChoices
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from provisioner.common import clock

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Any]
    _Inline = admin.TabularInline[Any, Any]
else:
    _Admin, _Inline = admin.ModelAdmin, admin.TabularInline

Column = Callable[[Any, Any], str]
"""A method of an admin class that shows a value of a row."""

NONE = "-"
CROWDED = 0.8
"""The share of use from which a bar is shown as a warning."""


class ReadOnlyAdmin(_Admin):
    """A page for rows that services, nodes and hosts own: nobody can add, change or delete them."""

    actions = None
    list_per_page = 50
    show_full_result_count = False

    class Media:
        css: ClassVar = {"all": ["provisioner/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="see also")
    def related(self, row: Model) -> str:
        """Links to the lists of the rows that point to this one."""
        lists = [
            (_list_url(relation.related_model, **{relation.field.name: row.pk}), relation)
            for relation in row._meta.related_objects
            if self.admin_site.is_registered(relation.related_model)
        ]
        names = ((url, r.related_model._meta.verbose_name_plural) for url, r in lists)
        return format_html_join(" · ", '<a href="{}">{}</a>', names) or NONE


class ReadOnlyInline(_Inline):
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields or ()


class DeadlineFilter(admin.SimpleListFilter):
    """Filters rows in a transitional state, or those whose deadline has passed."""

    title = "unfinished"
    parameter_name = "unfinished"
    field = "deadline_at"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "unfinished"), ("overdue", "overdue")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "yes":
                return queryset.filter(**{f"{self.field}__isnull": False})
            case "overdue":
                return queryset.filter(**{f"{self.field}__lt": clock.now()})
            case _:
                return queryset


class ChoiceFilter(admin.SimpleListFilter):
    """Filters rows by a value that no column holds; :meth:`of` selects them."""

    choices_shown: ClassVar[type[TextChoices]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(value), str(label)) for value, label in self.choices_shown.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return self.of(queryset, value) if value in self.choices_shown.values else queryset

    def of(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        raise NotImplementedError


def size(count: int) -> str:
    """Bytes for people: about three digits, and a binary unit."""
    value, units = float(count), iter(("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))
    unit = "B"
    while abs(value) >= 1024 and (larger := next(units, None)):
        value, unit = value / 1024, larger
    return f"{value:.{0 if unit == 'B' or value >= 100 else 1}f} {unit}"


def rate(count: int) -> str:
    return f"{size(count)}/s"


def number(count: int) -> str:
    return f"{count:,}"


def span(time: dt.timedelta) -> str:
    """A span of time in its largest unit, rounded down."""
    seconds = int(time.total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def bar(used: float, total: float, text: str) -> SafeString:
    """A bar that shows how much is used, with the text next to it."""
    return format_html(
        '<meter min="0" max="{}" high="{}" optimum="0" value="{}"></meter> {}',
        total,
        total * CROWDED,
        used,
        text,
    )


def share(used: int, total: int, shown: Callable[[int], str] = str) -> str:
    """How much of a total is used; a total of 0 is no limit."""
    if not total:
        return f"{shown(used)} (no limit)"
    return bar(used, total, f"{100 * used / total:.0f} % of {shown(total)}")


def link(row: Model | None) -> str:
    """A link to the page of a row."""
    if row is None:
        return NONE
    page = reverse(
        f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[quote(row.pk)]
    )
    return format_html('<a href="{}">{}</a>', page, str(row))


def list_link(model: type[Model], text: str, **filters: str) -> str:
    """A link to the rows of a model that have these values."""
    return format_html('<a href="{}">{}</a>', _list_url(model, **filters), text)


def _list_url(model: type[Model], **filters: Any) -> str:
    page = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return f"{page}?{urlencode(filters)}"


def size_column(field: str, title: str) -> Column:
    @admin.display(description=title, ordering=field)
    def column(self: Any, row: Any) -> str:
        count = getattr(row, field)
        return NONE if count is None else size(count)

    return column


def share_column(used: str, total: str, title: str, shown: Callable[[int], str] = str) -> Column:
    @admin.display(description=title, ordering=used)
    def column(self: Any, row: Any) -> str:
        return share(getattr(row, used) or 0, getattr(row, total) or 0, shown)

    return column


def link_column(field: str, title: str = "") -> Column:
    @admin.display(description=title or field, ordering=field)
    def column(self: Any, row: Any) -> str:
        return link(getattr(row, field))

    return column


def text_column(function: Callable[[Any], str], title: str) -> Column:
    """A column that shows ``function(row)``."""

    @admin.display(description=title)
    def column(self: Any, row: Any) -> str:
        return function(row) or NONE

    return column


def wait_column(field: str = "deadline_at", title: str = "must be finished") -> Column:
    """A column that shows when the deadline of an unfinished row is, or how long it is overdue."""

    @admin.display(description=title, ordering=field)
    def column(self: Any, row: Any) -> str:
        at = getattr(row, field)
        if at is None:
            return NONE
        left = at - clock.now()
        if left >= dt.timedelta():
            return f"in {span(left)}"
        return format_html('<span class="overdue">overdue for {}</span>', span(-left))

    return column
