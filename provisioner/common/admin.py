"""Shared parts of all console pages. The pages show rows; only services change them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Model, QuerySet, TextChoices
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join

from provisioner.common import clock
from provisioner.common.detail_pages import Fact, Table
from provisioner.common.display import NONE, badge, due, share, size, two_lines
from provisioner.common.tenancy import of_tenant, tenant_of

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Any]
    _Inline = admin.TabularInline[Any, Any]
else:
    from unfold.admin import ModelAdmin as _Admin
    from unfold.admin import TabularInline as _Inline

Column = Callable[[Any, Any], str]
"""A method of an admin class that shows a value of a row."""


class ReadOnlyAdmin(_Admin):
    """A page for rows that services, nodes and hosts change. Users cannot add, change or delete
    them.
    """

    actions = None
    list_per_page = 50
    show_full_result_count = False
    list_fullwidth = True
    compressed_fields = True
    change_form_outer_before_template = "console/details.html"
    of_pool: frozenset[str] = frozenset()
    """Columns and fields that are omitted for users of a tenant."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The rows that the user may see."""
        return of_tenant(super().get_queryset(request), tenant_of(request))

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Omit the filter by tenant for users of a tenant."""
        filters = super().get_list_filter(request)
        return [f for f in filters if f != "tenant"] if tenant_of(request) else filters

    def get_list_display(self, request: HttpRequest) -> Any:
        """Omit columns about the pool for users of a tenant."""
        columns = super().get_list_display(request)
        return [c for c in columns if c not in self.of_pool] if tenant_of(request) else columns

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Omit fields about the pool for users of a tenant."""
        sections = super().get_fieldsets(request, obj)
        if tenant_of(request) is None:
            return sections
        shown = [
            (title, {**options, "fields": [f for f in options["fields"] if f not in self.of_pool]})
            for title, options in sections
        ]
        return [section for section in shown if section[1]["fields"]]

    def facts(self, row: Any, tenant_id: str | None) -> list[Fact]:
        """Return the facts at the top of the row's page. ``tenant_id``: the tenant of the user, if
        any.
        """
        return []

    def tables(self, row: Any, tenant_id: str | None) -> list[Table]:
        """Return tables of related objects for the page of the row, as a user of this tenant may
        see them. Each table takes one query.
        """
        return []

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if (row := kwargs.get("obj")) is not None:
            tenant = tenant_of(request)
            shown = {"facts": self.facts(row, tenant), "tables": self.tables(row, tenant)}
            context = {**context, **shown}
        return super().render_change_form(request, context, *args, **kwargs)

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
            (list_url(relation.related_model, **{relation.field.name: row.pk}), relation)
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
    """Filters rows by a value that is not in a column. :meth:`of` selects the rows."""

    choices_shown: ClassVar[type[TextChoices]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(value), str(label)) for value, label in self.choices_shown.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return self.of(queryset, value) if value in self.choices_shown.values else queryset

    def of(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        raise NotImplementedError


def link(row: Model | None, text: str = "") -> str:
    """A link to the page of a row."""
    if row is None:
        return NONE
    page = reverse(
        f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[quote(row.pk)]
    )
    return format_html('<a href="{}">{}</a>', page, text or str(row))


def list_link(model: type[Model], text: str, **filters: str) -> str:
    """A link to the rows of a model that have these values."""
    return format_html('<a href="{}">{}</a>', list_url(model, **filters), text)


def list_url(model: type[Model], **filters: Any) -> str:
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
    """A column that shows the deadline of an unfinished row, or how long the row is overdue."""

    @admin.display(description=title, ordering=field)
    def column(self: Any, row: Any) -> str:
        at = getattr(row, field)
        return NONE if at is None else due(at, clock.now())

    return column


def badge_column(field: str, title: str = "") -> Column:
    """A column that shows a state as a coloured label."""

    @admin.display(description=title or field.replace("_", " "), ordering=field)
    def column(self: Any, row: Any) -> str:
        return badge(getattr(row, field))

    return column


def unfinished_column(reason: Callable[[Any], str]) -> Column:
    """A column for lists, about unfinished rows: their state, the reason why they are unfinished
    (``reason``), and their deadline. It is empty for finished rows.
    """

    @admin.display(description="unfinished", ordering="deadline_at")
    def column(self: Any, row: Any) -> str:
        if row.deadline_at is None:
            return NONE
        texts = [text for text in (reason(row), due(row.deadline_at, clock.now())) if text]
        return two_lines(badge(row.state), format_html_join(", ", "{}", ((t,) for t in texts)))

    return column


def named_column(name: str, identifier: str, title: str = "name") -> Column:
    """A column with the name of a row, and its identifier below."""

    @admin.display(description=title, ordering=name)
    def column(self: Any, row: Any) -> str:
        return two_lines(getattr(row, name), getattr(row, identifier))

    return column
