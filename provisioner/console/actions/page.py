"""The page of an action. It explains the action, asks for confirmation, and calls the operation."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action as unfold_action
from unfold.enums import ActionVariant

from provisioner.access.local_users import user_caller
from provisioner.console.actions.action import Action
from provisioner.console.actions.form import KEY, PASSWORD, ActionForm
from provisioner.console.actions.operation import Answer, Call, operation_call

DRY_RUN = "dry_run"
if TYPE_CHECKING:
    Admin = ModelAdmin[Any]
else:
    Admin = ModelAdmin


def admin_options(actions: list[Action], listed: list[Any]) -> dict[str, Any]:
    """Return the attributes with which an admin class shows these actions of its model.

    ``listed``: the names of the actions on the page of an object, in order and in groups.
    """
    options: dict[str, Any] = {
        "actions_list": [action.name for action in actions if action.of_list],
        "actions_detail": listed,
    }
    for action in actions:
        options[action.name] = _handler(action)
        options[f"has_{action.name}_permission"] = _is_shown(action)
    return options


def _handler(action: Action) -> Callable[..., HttpResponse]:
    """Return the method of an admin class that handles requests for an action."""

    def handle(admin: Admin, request: HttpRequest, object_id: str | None = None) -> HttpResponse:
        return action_page(admin, request, action, object_id)

    handle.__name__ = action.name
    variant = ActionVariant.DANGER if action.destroys else ActionVariant.DEFAULT
    method: Any = unfold_action(
        description=action.title,
        url_path=action.name.replace("_", "-"),
        icon=action.icon,
        variant=ActionVariant.PRIMARY if action.of_list else variant,
    )(handle)
    method.allowed_permissions = [action.name]
    handler: Callable[..., HttpResponse] = method
    return handler


def _is_shown(action: Action) -> Callable[..., bool]:
    """Return the check of an admin class whether the user sees the button of an action. The user
    must have the right, and the action must apply to the object.
    """

    def is_shown(admin: Admin, request: HttpRequest, object_id: str | None = None) -> bool:
        if not action.is_allowed(user_caller(request.user)):
            return False
        if object_id is None:
            return True
        seen: dict[str, Any] = request.__dict__.setdefault("_rows_of_actions", {})
        if object_id not in seen:
            seen[object_id] = admin.model._default_manager.filter(pk=unquote(object_id)).first()
        return seen[object_id] is not None and action.applies_to(seen[object_id])

    return is_shown


def action_page(
    admin: Admin, request: HttpRequest, action: Action, object_id: str | None
) -> HttpResponse:
    """Show the page of an action, and carry the action out when the form is sent. No transaction is
    open during the call.

    :raises PermissionDenied: the API would refuse the operation to this user. The answer is HTTP
        403.
    """
    if not action.is_allowed(user_caller(request.user)):
        raise PermissionDenied(f"{request.user.get_username()} may not do this")
    row = None
    if object_id is not None:
        row = admin.get_object(request, unquote(object_id))
        if row is None:
            text = f"There is no {admin.opts.verbose_name} {unquote(object_id)!r} any more."
            messages.warning(request, text)
            return redirect(_url_of(admin.model, None))
        if not action.applies_to(row):
            name = f"{admin.opts.verbose_name} {row}"
            messages.warning(request, f"{action.title} is not possible for {name} as it is now.")
            return redirect(_url_of(admin.model, row))
    return _Page(admin, request, action, row).answer()


@dataclass(frozen=True)
class _Page:
    """The page of an action in one request. ``row``: the object; None on a list."""

    admin: Admin
    request: HttpRequest
    action: Action
    row: Any

    def answer(self) -> HttpResponse:
        sent = self.request.POST if self.request.method == "POST" else None
        caller = user_caller(self.request.user)
        form = ActionForm(self.action, self.row, caller, sent)
        if not form.is_valid():
            return self._ask(form)
        is_trial = self.action.dry_run is not None and DRY_RUN in self.request.POST
        answer = operation_call(self.request, caller, self._call(form, is_trial=is_trial))
        if answer.http == HTTPStatus.FORBIDDEN:
            raise PermissionDenied(answer.description)
        if not answer.ok:
            form.refuse(answer)
            return self._ask(form)
        if is_trial:
            return self._ask(form, answer)
        return self._reveal(answer) if self.action.reveals else self._report_success(form, answer)

    def _call(self, form: ActionForm, *, is_trial: bool) -> Call:
        content = {**form.content, **self.action.body(self.row)}
        is_query = self.action.endpoint.body is None
        return Call(
            self.action.method,
            self.action.path_of(self.row),
            body={} if is_query else content,
            query=(content if is_query else {}) | ({"dryRun": "true"} if is_trial else {}),
            key="" if is_trial else form.cleaned_data[KEY],
            password=form.cleaned_data.get(PASSWORD),
        )

    def _report_success(self, form: ActionForm, answer: Answer) -> HttpResponse:
        """Report success on the next page."""
        named = form.cleaned_data | dict(answer.data)
        messages.success(self.request, self.action.done.format(row=self.row, **named))
        return redirect(self._next_url(answer))

    def _next_url(self, answer: Answer) -> str:
        """Return the URL of the object that the action created or changed. If the object no longer
        exists, return the URL of the list.
        """
        model, found = self.admin.model, self.row
        if self.action.opens:
            model, key, name = self.action.opens
            rows = model._default_manager.filter(**{name: answer.data.get(key)})
            found = rows.order_by("-pk").first()
        elif found is not None and not model._default_manager.filter(pk=found.pk).exists():
            found = None
        return _url_of(model, found)

    def _ask(self, form: ActionForm, trial: Answer | None = None) -> HttpResponse:
        found = self.action.dry_run(trial.data) if trial and self.action.dry_run else None
        return self._render(form=form, facts=self.action.facts(self.row), found=found)

    def _reveal(self, answer: Answer) -> HttpResponse:
        """Return the page that shows a secret. It is shown once, because pages of the
        administration are not cached.
        """
        done = self.action.done.format(**answer.data)
        return self._render(secret=answer.data[self.action.reveals], done=done)

    def _render(self, **context: Any) -> HttpResponse:
        shared = self.admin.admin_site.each_context(self.request)
        own = {
            "title": self.action.title,
            "action": self.action,
            "has_dry_run": self.action.dry_run is not None,
            "row": self.row,
            "back": _url_of(self.admin.model, self.row),
        }
        return TemplateResponse(self.request, "console/action.html", shared | own | context)


def _url_of(model: type[Model], row: Any) -> str:
    """Return the URL of an object or, without a row, of the list."""
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    if row is None:
        return reverse(f"{name}_changelist")
    return reverse(f"{name}_change", args=[quote(row.pk)])
